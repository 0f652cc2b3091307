// fetch METHOD URL [BODY]: net/http's default client.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	body := ""
	if len(os.Args) > 3 {
		body = os.Args[3]
	}
	request, err := http.NewRequest(os.Args[1], os.Args[2], strings.NewReader(body))
	fail(err)
	answer, err := http.DefaultClient.Do(request)
	fail(err)
	if answer.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, answer.Status)
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	fail(err)
	if answer.StatusCode != http.StatusOK {
		os.Exit(1)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
