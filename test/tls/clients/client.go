// Connects to each name through one address and verifies with crypto/x509. Prints "NAME ok" or "NAME refused: why".
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	pem, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for _, name := range os.Args[3:] {
		dialer := &net.Dialer{Timeout: 10 * time.Second}
		conn, err := tls.DialWithDialer(dialer, "tcp", os.Args[1], &tls.Config{RootCAs: roots, ServerName: name})
		if err != nil {
			fmt.Printf("%s refused: %v\n", name, err)
			continue
		}
		conn.Close()
		fmt.Printf("%s ok\n", name)
	}
}
