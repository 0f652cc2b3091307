package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var upload = bytes.Repeat([]byte("a"), 256<<10)

// client is one connection at a time, and the requests made on it.
type client struct {
	all        *tally
	number     int
	connection net.Conn
	reader     *bufio.Reader
	head       []byte
	made       int
	transport  *http.Transport // of HTTP/2
}

func (client *client) work(pace *pace) []float32 {
	if client.all.orders.Streams > 0 {
		return client.streams()
	}
	orders := client.all.orders
	latencies := make([]float32, 0, 1024)
	for client.all.take() {
		from := pace.due()
		err := client.ready()
		if err == nil {
			err = client.exchange()
		}
		if err != nil {
			client.all.fail(err)
			client.close()
			return latencies
		}
		latencies = append(latencies, float32(time.Since(from).Seconds()*1000))
		if client.made++; orders.Lifetime > 0 && client.made%orders.Lifetime == 0 {
			client.close()
		}
	}
	return latencies
}

func (client *client) close() {
	if client.connection != nil {
		_ = client.connection.Close()
	}
	client.connection = nil
}

func (client *client) ready() error {
	if client.connection != nil {
		return nil
	}
	host := client.all.nextHost()
	connection, err := client.open(host, "http/1.1")
	if err != nil {
		return err
	}
	orders := client.all.orders
	authority := fmt.Sprintf("%s:%d", host, orders.Port)
	target := orders.Path
	if orders.Via == "plain" {
		target = "http://" + authority + orders.Path
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n", orders.Method, target, authority)
	if orders.Via == "plain" {
		head += client.credentials()
	}
	if orders.Body > 0 || orders.Method == "POST" {
		head += fmt.Sprintf("Content-Length: %d\r\n", orders.Body)
	}
	client.connection = connection
	client.reader = bufio.NewReaderSize(connection, 16<<10)
	client.head = []byte(head + "\r\n")
	return nil
}

func (all *tally) nextHost() string {
	orders := all.orders
	if !strings.Contains(orders.Host, "%d") {
		return orders.Host
	}
	number := atomic.AddInt64(&all.host, 1) - 1
	if orders.Hosts > 0 {
		number %= int64(orders.Hosts)
	}
	return fmt.Sprintf(orders.Host, number)
}

func (client *client) credentials() string {
	users, connections := client.all.orders.Users, client.all.orders.Connections
	if users == 0 {
		return ""
	}
	number := client.number
	if users > connections {
		number *= users / connections
	}
	name := fmt.Sprintf("s%d", number%users)
	user := base64.StdEncoding.EncodeToString([]byte(name + ":secret-of-the-sandbox-" + name))
	return "Proxy-Authorization: Basic " + user + "\r\n"
}

// open connects, through the tunnel and the TLS handshake that the orders ask for.
func (client *client) open(host string, protocols ...string) (net.Conn, error) {
	client.all.openers <- struct{}{}
	defer func() { <-client.all.openers }()
	orders := client.all.orders
	connection, err := net.DialTimeout("tcp", orders.Proxy, 30*time.Second)
	if err != nil || orders.Via == "plain" {
		return connection, err
	}
	if orders.Via == "connect" {
		if err := client.tunnel(connection, host); err != nil {
			_ = connection.Close()
			return nil, err
		}
	}
	secured := tls.Client(connection, clientTLS(client.all, host, protocols...))
	if err := secured.Handshake(); err != nil {
		_ = connection.Close()
		return nil, fmt.Errorf("handshake for %s: %w", host, err)
	}
	client.all.lock.Lock()
	client.all.protocol = secured.ConnectionState().NegotiatedProtocol
	client.all.lock.Unlock()
	return secured, nil
}

func (client *client) tunnel(connection net.Conn, host string) error {
	authority := fmt.Sprintf("%s:%d", host, client.all.orders.Port)
	head := "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n" + client.credentials() + "\r\n"
	if _, err := connection.Write([]byte(head)); err != nil {
		return err
	}
	answer := make([]byte, 0, 512)
	for !bytes.HasSuffix(answer, []byte("\r\n\r\n")) {
		part := make([]byte, 512)
		got, err := connection.Read(part)
		if err != nil {
			return err
		}
		answer = append(answer, part[:got]...)
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.")) || !bytes.HasPrefix(answer[8:], []byte(" 200")) {
		return fmt.Errorf("CONNECT was answered %q", answer)
	}
	return nil
}

func (client *client) exchange() error {
	if _, err := client.connection.Write(client.head); err != nil {
		return err
	}
	for left := client.all.orders.Body; left > 0; {
		part := upload
		if left < len(part) {
			part = part[:left]
		}
		written, err := client.connection.Write(part)
		if err != nil {
			return err
		}
		left -= written
	}
	return client.answer()
}

// answer reads one by its Content-Length or its chunks, and judges its status.
func (client *client) answer() error {
	status, length, chunked := 0, int64(0), false
	for {
		line, err := client.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if status == 0 {
			status, _ = strconv.Atoi(string(line[9:12]))
		} else if len(line) > 15 && bytes.EqualFold(line[:15], []byte("content-length:")) {
			length, _ = strconv.ParseInt(string(bytes.TrimSpace(line[15:])), 10, 64)
		} else if len(line) > 18 && bytes.EqualFold(line[:18], []byte("transfer-encoding:")) {
			chunked = true
		}
	}
	if status != client.all.orders.Status {
		return fmt.Errorf("answered with status %d", status)
	}
	if chunked {
		return client.chunks()
	}
	_, err := io.CopyN(io.Discard, client.reader, length)
	return err
}

func (client *client) chunks() error {
	for {
		line, err := client.reader.ReadString('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, client.reader, size+2); err != nil || size == 0 {
			return err
		}
	}
}

// streams makes requests over one HTTP/2 connection, so many at once.
func (client *client) streams() []float32 {
	orders := client.all.orders
	host := client.all.nextHost()
	if client.transport == nil {
		client.transport = &http.Transport{
			ForceAttemptHTTP2: true,
			DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
				return client.open(host, "h2", "http/1.1")
			},
		}
	}
	latencies := []float32{}
	var lock sync.Mutex
	var wait sync.WaitGroup
	for i := 0; i < orders.Streams; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			mine := []float32{}
			for client.all.take() {
				from := time.Now()
				if err := stream(client.transport, orders, host); err != nil {
					client.all.fail(err)
					break
				}
				mine = append(mine, float32(time.Since(from).Seconds()*1000))
			}
			lock.Lock()
			latencies = append(latencies, mine...)
			lock.Unlock()
		}()
	}
	wait.Wait()
	return latencies
}

func stream(transport *http.Transport, orders *Orders, host string) error {
	url := fmt.Sprintf("https://%s:%d%s", host, orders.Port, orders.Path)
	request, err := http.NewRequest(orders.Method, url, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != orders.Status {
		return fmt.Errorf("answered with status %d", response.StatusCode)
	}
	if response.ProtoMajor != 2 {
		return errors.New("answered over " + response.Proto)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
