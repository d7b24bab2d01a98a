// Package receiver is the common part of the receivers in Go: how they receive their arguments and report their results.
//
//	PROGRAM PORT [WORD ...] [verify]
package receiver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"log"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// BufferBytes is what a reader gets to read into.
const BufferBytes = 64 * 1024

// Tally is what came over one connection.
type Tally struct {
	Frames, Bytes int
	digest        hash.Hash
}

// Verifies tells whether every frame has to be digested; such a run is not timed.
func (t *Tally) Verifies() bool { return t.digest != nil }

// Digest takes note of the content of a frame, without its separator.
func (t *Tally) Digest(content []byte) {
	fmt.Fprintf(t.digest, "%d:", len(content))
	t.digest.Write(content)
}

// Words are what stands between the port and "verify" on the command line.
func Words() []string {
	words := os.Args[2:]
	if verifies() {
		words = words[:len(words)-1]
	}
	return words
}

func verifies() bool { return os.Args[len(os.Args)-1] == "verify" }

// Run opens the connections, starts the clock, has each of them read to its end in a goroutine, and prints the sum. The
// digests of all connections are one where they are equal.
func Run(connections int, read func(net.Conn, *Tally) error) {
	sockets := make([]net.Conn, connections)
	for i := range sockets {
		socket, err := net.Dial("tcp", "127.0.0.1:"+os.Args[1])
		if err != nil {
			log.Fatal(err)
		}
		sockets[i] = socket
	}
	tallies := make([]Tally, connections)
	done := make(chan error, connections)
	start := time.Now()
	for i, socket := range sockets {
		if verifies() {
			tallies[i].digest = sha256.New()
		}
		// The last one in this goroutine: a single connection needs no other.
		if i < connections-1 {
			go func(i int, socket net.Conn) { done <- read(socket, &tallies[i]) }(i, socket)
		} else {
			done <- read(socket, &tallies[i])
		}
	}
	for range sockets {
		if err := <-done; err != nil {
			log.Fatal(err)
		}
	}
	seconds := time.Since(start).Seconds()

	answer := map[string]any{"seconds": seconds}
	frames, bytes := 0, 0
	var digests []string
	for _, tally := range tallies {
		frames += tally.Frames
		bytes += tally.Bytes
		if tally.digest != nil {
			digests = append(digests, hex.EncodeToString(tally.digest.Sum(nil)))
		}
	}
	answer["frames"], answer["bytes"] = frames, bytes
	if verifies() {
		answer["digest"] = strings.Join(slices.Compact(digests), " ")
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		log.Fatal(err)
	}
}
