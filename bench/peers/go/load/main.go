// The load of the benchmark: so many connections with one request at a time on each, or one connection with so many streams.
// Reads its orders (JSON) as the first line of standard input, opens and warms up its connections, prints "ready", waits for
// the next line, works, and prints what it found; its connections stay open until standard input ends.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// Orders say what to do. Via is "connect" (CONNECT, then TLS), "tls" (TLS straight to the port) or "plain" (absolute
// form, no TLS).
type Orders struct {
	Via         string
	Proxy       string // address:port
	Users       int    // as many sandboxes, "s<n>", over which the connections are spread
	Host        string // "%d" in it becomes the number of the connection: a host each
	FirstHost   int
	Hosts       int // the numbers repeat after so many; 0: never
	Port        int
	Trusted     string // PEM
	Method      string
	Path        string
	Body        int
	Status      int
	Connections int
	Lifetime    int // requests on one connection before the next is opened; 0: any number
	Streams     int // HTTP/2 with so many at once on each connection; 0: HTTP/1.1
	Requests    int64
	Seconds     float64 // whichever comes first
	Warmup      float64 // seconds
	Rate        float64 // requests a second over all connections; 0: as fast as they come
}

// Found is what a run comes to.
type Found struct {
	Requests int64
	Errors   int64
	Error    string
	Seconds  float64
	Mean     float64 // of the latencies, in milliseconds
	P50      float64
	P99      float64
	Protocol string // that was agreed on by ALPN
}

type tally struct {
	orders    *Orders
	pool      *x509.CertPool
	host      int64
	left      int64
	until     time.Time
	errors    int64
	lock      sync.Mutex
	first     string
	protocol  string
	latencies [][]float32
	openers   chan struct{} // so many connections are opened at once: thousands at a time would overrun the backlog
}

func main() {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	line, err := input.ReadBytes('\n')
	if err != nil {
		log.Fatal(err)
	}
	orders := Orders{}
	if err := json.Unmarshal(line, &orders); err != nil {
		log.Fatal(err)
	}
	all := &tally{orders: &orders, pool: x509.NewCertPool(), host: int64(orders.FirstHost), openers: make(chan struct{}, 64)}
	all.pool.AppendCertsFromPEM([]byte(orders.Trusted))
	clients := make([]*client, orders.Connections)
	for i := range clients {
		clients[i] = &client{all: all, number: i}
	}
	if orders.Warmup > 0 {
		all.run(clients, orders.Warmup, 1<<40, 0)
	} else if orders.Lifetime == 0 {
		all.run(clients, 600, int64(len(clients)), 0) // opens each
	}
	if all.errors > 0 {
		fmt.Printf("failed: %s\n", all.first)
		return
	}
	fmt.Println("ready")
	if _, err := input.ReadBytes('\n'); err != nil {
		return
	}
	began := time.Now()
	all.run(clients, orders.Seconds, orders.Requests, orders.Rate)
	_ = json.NewEncoder(os.Stdout).Encode(all.found(time.Since(began).Seconds()))
	_, _ = io.Copy(io.Discard, input)
}

// run lets every client work until the time is over or all requests are taken.
func (all *tally) run(clients []*client, seconds float64, requests int64, rate float64) {
	all.until = time.Now().Add(time.Duration(seconds * float64(time.Second)))
	atomic.StoreInt64(&all.left, requests)
	all.latencies = make([][]float32, len(clients))
	var wait sync.WaitGroup
	began := time.Now()
	for i := range clients {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			pace := &pace{began: began, next: float64(i), step: float64(len(clients)), rate: rate}
			all.latencies[i] = clients[i].work(pace)
		}(i)
	}
	wait.Wait()
}

// take says whether there is another request to make.
func (all *tally) take() bool {
	return atomic.AddInt64(&all.left, -1) >= 0 && time.Now().Before(all.until)
}

func (all *tally) fail(err error) {
	atomic.AddInt64(&all.errors, 1)
	all.lock.Lock()
	defer all.lock.Unlock()
	if all.first == "" {
		all.first = err.Error()
	}
}

func (all *tally) found(seconds float64) Found {
	latencies := []float32{}
	sum := 0.0
	for _, some := range all.latencies {
		latencies = append(latencies, some...)
	}
	for _, one := range latencies {
		sum += float64(one)
	}
	sort.Slice(latencies, func(a, b int) bool { return latencies[a] < latencies[b] })
	found := Found{
		Requests: int64(len(latencies)), Errors: all.errors, Error: all.first, Seconds: seconds, Protocol: all.protocol,
	}
	if len(latencies) > 0 {
		found.Mean = sum / float64(len(latencies))
		found.P50 = float64(latencies[len(latencies)/2])
		found.P99 = float64(latencies[len(latencies)*99/100])
	}
	return found
}

// pace spreads requests evenly: each client's next one is due at a set time. Where the one before is late, latency counts from
// then, so that a proxy that stalls cannot slow down the clock that it is measured by; a timer that is late is nobody's fault.
type pace struct {
	began      time.Time
	next, step float64
	rate       float64
}

func (pace *pace) due() time.Time {
	if pace.rate <= 0 {
		return time.Now()
	}
	due := pace.began.Add(time.Duration(pace.next / pace.rate * float64(time.Second)))
	pace.next += pace.step
	early := time.Until(due)
	if early <= 0 {
		return due
	}
	time.Sleep(early)
	return time.Now()
}

func clientTLS(all *tally, host string, protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: all.pool, ServerName: host, NextProtos: protocols}
}
