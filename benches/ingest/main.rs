//! What a sample costs: the real daemon under load, beside its peers and beside reading alone.
//!
//!     cargo bench --bench ingest -- [only=rw_a,otlp] [runs=3] [samples=2000000]
//!
//! Every server is started by this program in a folder of its own, fed prebuilt bodies over two
//! connections that stay open, asked what it took, and ended. The load is 1,000 series of seven
//! labels, all of which an analysis asks for; its ticks are 100 ms long and all of them are closed
//! and looked at before davy's time is taken. Figures are CPU seconds of the server a million
//! samples, medians over alternating runs. `cost` has the modes of one format each, `growth` what
//! becomes of them as work grows, `answers` what is asked beside the load, `soak` what half an hour of it leaves.

#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod answers;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod cost;
mod durable;
mod growth;
mod reference;
mod server;
mod soak;
mod wire;

use common::{Args, Verdicts};

/// A mode that is no format: how many runs it makes, and where its bounds are told.
type Run = fn(usize, &mut Verdicts);

fn main() -> std::process::ExitCode {
    let args = Args::read();
    let reference_port = args.number("reference", 0);
    if reference_port > 0 {
        reference::serve(reference_port as u16, args.number("answer", 2));
        return std::process::ExitCode::SUCCESS;
    }
    let only = args.text("only", "");
    let wanted = |mode: &str| only.is_empty() || only.split(',').any(|name| name == mode);
    let (runs, samples) = (args.number("runs", 3), args.number("samples", 0));
    let mut verdicts = Verdicts::default();
    for mode in cost::MODES.iter().filter(|mode| wanted(mode.name)) {
        cost::run(mode, runs, samples, &mut verdicts);
    }
    let others: [(&str, Run); 8] = [
        ("unmatched", growth::unmatched),
        ("samples", growth::samples),
        ("series", growth::series),
        ("analyses", growth::analyses),
        ("others", growth::others),
        ("answers", answers::run),
        ("footprint", answers::footprint),
        ("durable", durable::run),
    ];
    for (name, run) in others {
        if wanted(name) {
            run(runs, &mut verdicts);
        }
    }
    if only.split(',').any(|name| name == "soak") {
        soak::run(args.number("minutes", 30), &mut verdicts);
    }
    verdicts.end()
}
