//! The limit: `read` into one buffer of 128 KiB, and `memchr` over it. Nothing is copied, and no line is handed to anybody.
//!
//! ```text
//! read-memchr PORT visit|count [verify]
//! ```
//!
//! `visit` looks at the end of every line and adds up the lengths; `count` only counts line feeds, which the memchr crate
//! does without finding out where they are.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpStream};

use memchr::memchr_iter;
use receiver::{Clock, Tally, Task, answer};

const BUFFER_BYTES: usize = 128 * 1024;

fn main() -> io::Result<()> {
    let task = Task::from_command_line();
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, task.port))?;
    let clock = Clock::start();
    let mut tally = Tally::new(task.verify);
    match task.words.first().map(String::as_str) {
        // A count says nothing about where lines end: its answer is verified by looking at them.
        Some("count") if !tally.verifies() => count(socket, &mut tally)?,
        Some("count" | "visit") => visit(socket, &mut tally)?,
        _ => panic!("visit or count"),
    }
    answer(vec![tally], clock.stop());
    Ok(())
}

fn visit(mut socket: TcpStream, tally: &mut Tally) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    // How many bytes at the front are the beginning of a line, and have no line feed among them.
    let mut kept = 0;
    loop {
        if kept == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        let count = socket.read(&mut buffer[kept..])?;
        if count == 0 {
            break;
        }
        let filled = kept + count;
        let mut start = 0;
        for found in memchr_iter(b'\n', &buffer[kept..filled]) {
            let end = kept + found;
            tally.frame(&buffer[start..end]);
            start = end + 1;
        }
        buffer.copy_within(start..filled, 0);
        kept = filled - start;
    }
    assert_eq!(kept, 0, "the last line has no end");
    Ok(())
}

fn count(mut socket: TcpStream, tally: &mut Tally) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let lines = memchr_iter(b'\n', &buffer[..count]).count();
        tally.frames += lines as u64;
        tally.bytes += (count - lines) as u64;
    }
}
