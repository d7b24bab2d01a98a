// Go: a server that echoes lines, with a bufio.Reader and a bufio.Writer, flushed when no whole request is left to answer.
// Prints its port.
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"

	"sluice/benchmarks/internal/receiver"
)

func main() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(server.Addr().(*net.TCPAddr).Port)
	for {
		socket, err := server.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go echo(socket)
	}
}

func echo(socket net.Conn) {
	defer socket.Close()
	reader := bufio.NewReaderSize(socket, receiver.BufferBytes)
	writer := bufio.NewWriterSize(socket, receiver.BufferBytes)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return
		}
		if _, err := writer.Write(line); err != nil {
			return
		}
		if reader.Buffered() == 0 {
			if err := writer.Flush(); err != nil {
				return
			}
		}
	}
}
