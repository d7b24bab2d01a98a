//! The limit for frames with a 4-byte big-endian length: `read` into one buffer of 128 KiB, and a loop over it that goes from length to
//! length. Nothing is copied but the frame that the end of the buffer cuts in two.
//!
//! ```text
//! read-lengths PORT [verify]
//! ```

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpStream};

use receiver::{Clock, Tally, Task, answer};

const BUFFER_BYTES: usize = 128 * 1024;
const HEADER_BYTES: usize = 4;

fn main() -> io::Result<()> {
    let task = Task::from_command_line();
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, task.port))?;
    let clock = Clock::start();
    let mut tally = Tally::new(task.verify);
    visit(socket, &mut tally)?;
    answer(vec![tally], clock.stop());
    Ok(())
}

fn visit(mut socket: TcpStream, tally: &mut Tally) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    // How many bytes at the front are the beginning of a frame.
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
        let mut unread = &buffer[..filled];
        while let Some((header, rest)) = unread.split_first_chunk::<HEADER_BYTES>() {
            let length = u32::from_be_bytes(*header) as usize;
            let Some((payload, after)) = rest.split_at_checked(length) else { break };
            tally.frame(payload);
            unread = after;
        }
        kept = unread.len();
        buffer.copy_within(filled - kept..filled, 0);
    }
    assert_eq!(kept, 0, "EOF within a frame");
    Ok(())
}
