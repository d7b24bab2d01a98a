//! tokio: `AsyncBufReadExt`, one line at a time, on a runtime of one thread.
//!
//! ```text
//! tokio-lines PORT CONNECTIONS bytes|strings [verify]
//! ```
//!
//! `bytes` is `read_until` into a `Vec` that each line gets anew, so that it may be kept; `strings` is `lines().next_line()`.

use std::io;
use std::net::Ipv4Addr;

use receiver::{Clock, Tally, Task, answer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

const BUFFER_BYTES: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(receive(&Task::from_command_line()))
}

async fn receive(task: &Task) -> io::Result<()> {
    let strings = match task.words.get(1).map(String::as_str) {
        Some("strings") => true,
        Some("bytes") => false,
        _ => panic!("bytes or strings"),
    };
    let mut sockets = Vec::new();
    for _ in 0..task.connections() {
        sockets.push(TcpStream::connect((Ipv4Addr::LOCALHOST, task.port)).await?);
    }
    let clock = Clock::start();
    let mut readers = JoinSet::new();
    for socket in sockets {
        let reader = BufReader::with_capacity(BUFFER_BYTES, socket);
        let tally = Tally::new(task.verify);
        if strings {
            readers.spawn(read_strings(reader, tally));
        } else {
            readers.spawn(read_bytes(reader, tally));
        }
    }
    let mut tallies = Vec::new();
    while let Some(done) = readers.join_next().await {
        tallies.push(done??);
    }
    answer(tallies, clock.stop());
    Ok(())
}

async fn read_bytes(mut reader: BufReader<TcpStream>, mut tally: Tally) -> io::Result<Tally> {
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).await? == 0 {
            return Ok(tally);
        }
        tally.frame(&line[..line.len() - 1]);
    }
}

async fn read_strings(reader: BufReader<TcpStream>, mut tally: Tally) -> io::Result<Tally> {
    let mut lines = reader.lines();
    while let Some(line) = lines.next_line().await? {
        tally.frame(line.as_bytes());
    }
    Ok(tally)
}
