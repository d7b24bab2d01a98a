//! tokio-util: `LengthDelimitedCodec` with its default of a 4-byte big-endian length, on a runtime of one thread.
//!
//! ```text
//! tokio-lengths PORT [verify]
//! ```

use std::io;
use std::net::Ipv4Addr;

use receiver::{Clock, Tally, Task, answer};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio_stream::StreamExt;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

const BUFFER_BYTES: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(receive(&Task::from_command_line()))
}

async fn receive(task: &Task) -> io::Result<()> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, task.port)).await?;
    let clock = Clock::start();
    let mut tally = Tally::new(task.verify);
    let mut frames = FramedRead::with_capacity(socket, LengthDelimitedCodec::new(), BUFFER_BYTES);
    while let Some(payload) = frames.next().await {
        tally.frame(&payload?);
    }
    answer(vec![tally], clock.stop());
    Ok(())
}
