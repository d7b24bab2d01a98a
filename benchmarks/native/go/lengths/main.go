// Go: frames with a 4-byte big-endian length, by a bufio.Reader.
//
//	lengths PORT peek|owned [verify]
//
// "peek" looks at each frame in the buffer of the reader, "owned" reads each into memory of its own.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"

	"sluice/benchmarks/internal/receiver"
)

const headerBytes = 4

func main() {
	switch receiver.Words()[0] {
	case "peek":
		receiver.Run(1, peek)
	case "owned":
		receiver.Run(1, readOwned)
	default:
		log.Fatal("peek or owned")
	}
}

// peek fails at a frame that is longer than the buffer of the reader.
func peek(socket net.Conn, tally *receiver.Tally) error {
	reader := bufio.NewReaderSize(socket, receiver.BufferBytes)
	for {
		header, err := reader.Peek(headerBytes)
		if err != nil {
			if errors.Is(err, io.EOF) && len(header) == 0 {
				return nil
			}
			return err
		}
		length := int(binary.BigEndian.Uint32(header))
		frame, err := reader.Peek(headerBytes + length)
		if err != nil {
			return err
		}
		tally.Frames++
		tally.Bytes += length
		if tally.Verifies() {
			tally.Digest(frame[headerBytes:])
		}
		if _, err := reader.Discard(len(frame)); err != nil {
			return err
		}
	}
}

func readOwned(socket net.Conn, tally *receiver.Tally) error {
	reader := bufio.NewReaderSize(socket, receiver.BufferBytes)
	header := make([]byte, headerBytes)
	for {
		if _, err := io.ReadFull(reader, header); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		payload := make([]byte, binary.BigEndian.Uint32(header))
		if _, err := io.ReadFull(reader, payload); err != nil {
			return err
		}
		tally.Frames++
		tally.Bytes += len(payload)
		if tally.Verifies() {
			tally.Digest(payload)
		}
	}
}
