// The origin of the benchmark: HTTP/1.1 over TLS and plain, and HTTP/2 on a port of its own, with as little work for a
// request as will do. "/b/N" is answered with N octets, whatever comes as a body is read and dropped. Prints its ports.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
)

var zeros = bytes.Repeat([]byte("a"), 256<<10)

func main() {
	certificate, err := tls.LoadX509KeyPair(os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
	secured, plain, both := listen(), listen(), listen()
	go accept(tls.NewListener(secured, config))
	go accept(plain)
	go serveBoth(both, certificate)
	ports := []int{}
	for _, listener := range []net.Listener{secured, plain, both} {
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	_ = json.NewEncoder(os.Stdout).Encode(ports)
	_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started it is gone
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func accept(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go serve(connection)
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 64<<10)
	answers := map[int][]byte{}
	for {
		path, length, chunked, err := readHead(reader)
		if err != nil {
			return
		}
		if chunked {
			_, err = io.Copy(io.Discard, httputil.NewChunkedReader(reader))
			if err == nil {
				_, err = reader.ReadString('\n')
			}
		} else if length > 0 {
			_, err = io.CopyN(io.Discard, reader, length)
		}
		if err != nil || answer(connection, answers, sizeOf(path)) != nil {
			return
		}
	}
}

func readHead(reader *bufio.Reader) (path string, length int64, chunked bool, err error) {
	for first := true; ; first = false {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return "", 0, false, err
		}
		if len(line) <= 2 {
			return path, length, chunked, nil
		}
		if first {
			words := strings.SplitN(string(line), " ", 3)
			if len(words) == 3 {
				path = words[1]
			}
		} else if value, is := field(line, "content-length:"); is {
			length, _ = strconv.ParseInt(value, 10, 64)
		} else if value, is := field(line, "transfer-encoding:"); is {
			chunked = strings.Contains(value, "chunked")
		}
	}
}

func field(line []byte, name string) (string, bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return "", false
	}
	return strings.TrimSpace(string(line[len(name):])), true
}

func sizeOf(path string) int {
	if at := strings.LastIndex(path, "/b/"); at >= 0 {
		if size, err := strconv.Atoi(path[at+3:]); err == nil {
			return size
		}
	}
	return 1024
}

func answer(connection net.Conn, answers map[int][]byte, size int) error {
	whole, known := answers[size]
	if !known {
		whole = []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size))
		if size <= 64<<10 {
			whole = append(whole, zeros[:size]...)
		}
		answers[size] = whole
	}
	if _, err := connection.Write(whole); err != nil || size <= 64<<10 {
		return err
	}
	for left := size; left > 0; {
		part := zeros
		if left < len(part) {
			part = part[:left]
		}
		written, err := connection.Write(part)
		if err != nil {
			return err
		}
		left -= written
	}
	return nil
}

// serveBoth speaks HTTP/2 to whoever asks for it, else HTTP/1.1.
func serveBoth(listener net.Listener, certificate tls.Certificate) {
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
		Handler: http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
			_, _ = io.Copy(io.Discard, request.Body)
			size := sizeOf(request.URL.Path)
			writer.Header().Set("Content-Length", strconv.Itoa(size))
			for ; size > len(zeros); size -= len(zeros) {
				_, _ = writer.Write(zeros)
			}
			_, _ = writer.Write(zeros[:size])
		}),
	}
	log.Fatal(server.ServeTLS(listener, "", ""))
}
