// goproxy as an intercepting proxy: origins verified, nothing judged, nothing recorded. It signs with an RSA key made anew for
// each tunnel (its default), with the CA that it brings along.
// Arguments: address:port, the CA (PEM) by which origins are verified, and the file that its own goes into.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/elazarl/goproxy"
)

func main() {
	pem, err := os.ReadFile(os.Args[2])
	check(err)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	check(os.WriteFile(os.Args[3], goproxy.CA_CERT, 0o644))
	proxy := goproxy.NewProxyHttpServer()
	proxy.Tr = &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: trusted},
		MaxIdleConnsPerHost: 256, // two by default, which would open most connections anew
		Dial:                dial,
	}
	proxy.OnRequest().HandleConnect(goproxy.AlwaysMitm)
	check(http.ListenAndServe(os.Args[1], proxy))
}

// dial takes every name below .test to this machine.
func dial(network, address string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".test") {
		address = "127.0.0.1:" + port
	}
	return net.DialTimeout(network, address, 30*time.Second)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
