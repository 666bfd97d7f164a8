// A consumer on franz-go that works as MiKa does: the contender in Go.
//
// It polls, hands each record to a handler, waits until all of the poll are completed, commits, and polls again. A record
// that failed is completed when its copy on the retry topic is acknowledged. franz-go is set up by its defaults, as MiKa
// leaves it. Nothing here is MiKa's code, and what MiKa does per record beside this (tracing, lookups) is left out: MiKa
// itself can be a little slower, and not faster.
//
// Called with the name of a row and a task in JSON, it prints what it measured as JSON.
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
	// An empty topic, for what the row writes.
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
		return fmt.Errorf("there is no row %q", name)
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
