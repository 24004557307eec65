//! The program: what is typed, and what comes of it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use graceline::config::{self, Config};
use graceline::console::dev::Dev;
use graceline::console::replay::{self, Choice};
use graceline::console::simulate::{self, BadLine, SimulateError};
use graceline::console::{check, demo, http, run, send, settings_apply, topics};
use graceline::invoice::instant::Instant;
use graceline::persist::redis::RedisStore;
use graceline::shard::health::Health;
use graceline::telemetry;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "graceline", version, about = "A stream processor for usage-based billing")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The processor. Any number of instances share the work.
    Run {
        /// The configuration; what it doesn't say has its default, and the environment goes before it.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// The processor on an embedded broker and store: no other program needed, and nothing survives its end.
    Dev {
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// The whole story in about twenty seconds: usage, drafts, late usage, finalization, overdue.
    Demo,
    /// Whether a configuration can be used, and whether the servers it names can serve.
    Check {
        /// The configuration; without it there are the defaults and the environment.
        file: Option<PathBuf>,
    },
    /// The topics that the processor needs.
    Topics {
        #[command(subcommand)]
        act: TopicsAct,
    },
    /// What decides invoices, as the catalog has it.
    Settings {
        #[command(subcommand)]
        act: SettingsAct,
    },
    /// Sends lines of JSON: a record's value each, or {"key":…,"value":…,"headers":{…}}.
    Send {
        what: send::What,
        /// The file, or `-` for the standard input.
        #[arg(default_value = "-")]
        file: PathBuf,
        /// The customer's external id, where a line doesn't say it.
        #[arg(long)]
        key: Option<String>,
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Sends rejected usage back, as it first came. What lacks an id or a timestamp gets new ones.
    ReplayRejected {
        /// Only what was rejected for this reason; may be given several times.
        #[arg(long)]
        reason: Vec<String>,
        /// Only what was rejected then or later.
        #[arg(long, value_parser = read_instant)]
        since: Option<Instant>,
        /// Counts, and sends nothing.
        #[arg(long)]
        dry_run: bool,
        #[arg(long)]
        config: Option<PathBuf>,
    },
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

#[derive(Subcommand)]
enum TopicsAct {
    /// Makes those that are missing, and says what is wrong with the others.
    Create {
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum SettingsAct {
    /// Puts the configuration's [billing], usage.format and webhooks.dialect in force for every instance.
    Apply {
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

fn read_instant(text: &str) -> Result<Instant, String> {
    Instant::parse_rfc3339(text)
        .ok_or_else(|| "an RFC 3339 instant is wanted, such as 2023-02-01T00:00:00Z".to_owned())
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => work(config.as_deref(), None, start_processor),
        Command::Dev { config } => work(config.as_deref(), None, start_dev),
        Command::Demo => work(None, Some("error"), demo::demo),
        Command::Check { file } => check_configuration(file.as_deref()),
        Command::Topics { act: TopicsAct::Create { config } } => {
            work(config.as_deref(), TYPED, async |config| topics::create(&config).await)
        }
        Command::Settings { act: SettingsAct::Apply { config } } => {
            work(config.as_deref(), TYPED, async |config| settings_apply::apply(&config).await)
        }
        Command::Send { what, file, key, config } => {
            work(config.as_deref(), TYPED, async |config| send::send(&config, what, &file, key.as_deref()))
        }
        Command::ReplayRejected { reason, since, dry_run, config } => {
            let choice = Choice { reasons: reason, since, dry_run };
            work(config.as_deref(), TYPED, async |config| replay::replay(&config, &choice))
        }
        Command::Simulate { file, until, books } => run_simulation(&file, until, books),
    }
}

/// What is said beside the answer to a command that somebody typed and waits for.
const TYPED: Option<&str> = Some("warn");

fn check_configuration(path: Option<&std::path::Path>) -> ExitCode {
    if let Err(problems) = Config::load(path, config::environment()) {
        check::say_problems(&problems);
        return ExitCode::FAILURE;
    }
    work(path, Some("error"), async |config| check::check(&config, path).await)
}

/// Loads the configuration and does the work on a runtime; what goes wrong is one line each. With `filter` only so much
/// is said meanwhile, whatever the configuration says.
fn work<F>(path: Option<&std::path::Path>, filter: Option<&str>, work: impl FnOnce(Config) -> F) -> ExitCode
where
    F: Future<Output = Result<(), String>>,
{
    let mut config = match Config::load(path, config::environment()) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("graceline: {problem}");
            }
            return ExitCode::from(2);
        }
    };
    config.log.filter = filter.map_or(config.log.filter, str::to_owned);
    if let Err(problem) = telemetry::init(&config.log) {
        eprintln!("graceline: {problem}");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a process can start threads");
    match runtime.block_on(work(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("graceline: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn start_processor(config: Config) -> Result<(), String> {
    let store = RedisStore::new(&config.redis).map_err(|error| error.to_string())?;
    let health = Arc::new(Health::default());
    if let Some(listen) = &config.http_listen {
        http::serve(listen, health.clone()).await?;
    }
    run::await_store(&config.redis, &health).await;
    let settings = config.settings().clone();
    let plant = run::Plant {
        topics: config.topic_names(settings.dialect),
        to: run::destinations(&config),
        rules: config.topic_rules(),
        pace: run::pace(&config.shard),
        kafka: config.kafka,
        store,
        settings,
        health,
        has_topics: false,
        clock: Arc::new(run::now_ms),
    };
    run::run(plant, run::stop_at_signals()).await
}

async fn start_dev(config: Config) -> Result<(), String> {
    let listen = config.http_listen.clone();
    let dev = Dev::start(config)?;
    if let Some(listen) = &listen
        && let Err(problem) = http::serve(listen, dev.health.clone()).await
    {
        eprintln!("graceline: {problem}");
    }
    println!("Kafka clients connect to {}", dev.brokers());
    dev.run(Arc::new(run::now_ms), run::stop_at_signals()).await
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
