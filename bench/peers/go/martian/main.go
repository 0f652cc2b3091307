// Google's martian as an intercepting proxy: origins verified, nothing judged, nothing recorded.
// Arguments: address:port, the CA's certificate and key (PEM), by which origins are verified too.
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

	"github.com/google/martian/v3"
	martianlog "github.com/google/martian/v3/log"
	"github.com/google/martian/v3/mitm"
)

func main() {
	pair, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	check(err)
	ca, err := x509.ParseCertificate(pair.Certificate[0])
	check(err)
	config, err := mitm.NewConfig(ca, pair.PrivateKey)
	check(err)
	trusted := x509.NewCertPool()
	trusted.AddCert(ca)
	martianlog.SetLevel(martianlog.Silent)
	proxy := martian.NewProxy()
	proxy.SetRoundTripper(&http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: trusted},
		MaxIdleConnsPerHost: 256, // two by default, which would open most connections anew
		TLSHandshakeTimeout: 10 * time.Second,
	})
	proxy.SetDial(dial)
	proxy.SetMITM(config)
	listener, err := net.Listen("tcp", os.Args[1])
	check(err)
	check(proxy.Serve(listener))
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
