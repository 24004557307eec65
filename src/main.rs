//! The program: what is typed, and what comes of it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use graceline::console::simulate::{self, BadLine, SimulateError};
use graceline::invoice::instant::Instant;

#[derive(Parser)]
#[command(name = "graceline", version, about = "A stream processor for usage-based billing")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the books over a file of JSON lines: no broker, no store, no clock but the file's.
    Simulate {
        /// The file, or `-` for the standard input.
        file: PathBuf,
        /// Lets the clock run on to this instant, and no further.
        #[arg(long, value_parser = read_instant)]
        until: Option<Instant>,
        /// Ends with a line that counts the fates of usage.
        #[arg(long)]
        books: bool,
    },
}

fn read_instant(text: &str) -> Result<Instant, String> {
    Instant::parse_rfc3339(text).ok_or_else(|| "an RFC 3339 instant is wanted, such as 2023-02-01T00:00:00Z".to_owned())
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Simulate { file, until, books } => run_simulation(&file, until, books),
    }
}

fn run_simulation(file: &std::path::Path, until: Option<Instant>, books: bool) -> ExitCode {
    let name = file.display();
    let input = match simulate::open(file) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("graceline: {name} can't be read: {error}");
            return ExitCode::from(2);
        }
    };
    let mut output = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
    match simulate::simulate(input, &mut output, until, books) {
        Ok(()) => ExitCode::SUCCESS,
        Err(SimulateError::BadLine(BadLine { number, problem })) => {
            eprintln!("graceline: {name}, line {number}: {problem}");
            ExitCode::from(2)
        }
        Err(SimulateError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(SimulateError::Io(error)) => {
            eprintln!("graceline: {name}: {error}");
            ExitCode::from(2)
        }
    }
}
