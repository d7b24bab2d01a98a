// Go: bufio.Scanner, which splits at line ends.
//
//	scanner PORT bytes|text [verify]
//
// "bytes" looks at each line where it lies, "text" makes a string of it.
package main

import (
	"bufio"
	"log"
	"net"

	"sluice/benchmarks/internal/receiver"
)

const longestLine = 1024 * 1024

func main() {
	switch receiver.Words()[0] {
	case "bytes":
		receiver.Run(1, readBytes)
	case "text":
		receiver.Run(1, readText)
	default:
		log.Fatal("bytes or text")
	}
}

func scannerOf(socket net.Conn) *bufio.Scanner {
	scanner := bufio.NewScanner(socket)
	scanner.Buffer(make([]byte, receiver.BufferBytes), longestLine)
	return scanner
}

func readBytes(socket net.Conn, tally *receiver.Tally) error {
	scanner := scannerOf(socket)
	for scanner.Scan() {
		line := scanner.Bytes()
		tally.Frames++
		tally.Bytes += len(line)
		if tally.Verifies() {
			tally.Digest(line)
		}
	}
	return scanner.Err()
}

// kept is where each string goes, so that the compiler cannot do without it.
var kept string

func readText(socket net.Conn, tally *receiver.Tally) error {
	scanner := scannerOf(socket)
	for scanner.Scan() {
		kept = scanner.Text()
		tally.Frames++
		tally.Bytes += len(kept)
		if tally.Verifies() {
			tally.Digest([]byte(kept))
		}
	}
	return scanner.Err()
}
