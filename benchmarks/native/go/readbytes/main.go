// Go: bufio.Reader.ReadBytes, one line at a time, each in memory of its own.
//
//	readbytes PORT CONNECTIONS [verify]
package main

import (
	"bufio"
	"errors"
	"io"
	"log"
	"net"
	"strconv"

	"sluice/benchmarks/internal/receiver"
)

func main() {
	connections, err := strconv.Atoi(receiver.Words()[0])
	if err != nil {
		log.Fatal(err)
	}
	receiver.Run(connections, read)
}

func read(socket net.Conn, tally *receiver.Tally) error {
	reader := bufio.NewReaderSize(socket, receiver.BufferBytes)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return nil
			}
			return err
		}
		tally.Frames++
		tally.Bytes += len(line) - 1
		if tally.Verifies() {
			tally.Digest(line[:len(line)-1])
		}
	}
}
