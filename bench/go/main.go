// The contender in Go: a consumer on franz-go that works as MiKa does.
//
// It polls, passes each record to a handler, waits until all records of the poll are completed, commits, and polls again. A
// failed record is completed when its copy on the retry topic is acknowledged. franz-go has its default settings, as in MiKa.
// None of this is MiKa's code. MiKa does more per record (tracing, look-ups), so it can be a little slower than this program,
// but not faster.
//
// The arguments are the name of a row and a task as JSON. The program prints its measurement as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

type task struct {
	Brokers []string `json:"brokers"`
	Topic   string   `json:"topic"`
	Group   string   `json:"group"`
	// An empty topic that the program can write to.
	Scratch string `json:"scratch"`
	Records int    `json:"records"`
}

type measurement map[string]float64

var rows = map[string]func(task) (measurement, error){
	"consume":      consume(false),
	"headers-read": consume(true),
	"slow":         slow,
	"backlog":      backlog,
	"stuck":        stuck,
	"latency":      latency,
	"retry":        retry,
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(name, argument string) error {
	row, found := rows[name]
	if !found {
		return fmt.Errorf("unknown row %q", name)
	}
	var t task
	if err := json.Unmarshal([]byte(argument), &t); err != nil {
		return err
	}
	measured, err := row(t)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(measured)
}
