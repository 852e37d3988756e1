//! `davy check`: every problem of plans and configuration files, before a daemon meets them.
//!
//! Owns the choice of reader by name and the report. It must not judge a file itself: that is
//! `config`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::app::secrets;
use crate::cli::OutputForm;
use crate::cli::exit::Exit;
use crate::clock::{Clock as _, SystemClock};
use crate::config::daemon::{Config, Webhook};
use crate::config::layers::Places;
use crate::config::plan_file::calibration::{is_calibration, parse_calibration};
use crate::config::{Problem, ProblemCode, Problems, Severity, layers, plans};
use crate::plan::Plan;
use crate::pull;
use crate::tls;
use crate::webhook::rules;

/// Arguments of `davy check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Plan files (.yaml, .yml, .json), daemon configuration (.toml), or folders of plans.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Form of the report: for people or as one JSON object.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// A file without errors.
#[derive(Debug, Serialize)]
struct Sound {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    looks: Option<usize>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    files: Vec<Sound>,
    problems: Vec<Problem>,
}

/// What was read so far: what is named together is meant to work together.
#[derive(Default)]
struct Named {
    plan_origins: BTreeMap<String, PathBuf>,
    plans: Vec<Plan>,
    configs: Vec<NamedConfig>,
}

struct NamedConfig {
    config: Config,
    places: Places,
    /// Its own plans, by hash; they were held against it already.
    own: BTreeSet<String>,
}

/// Runs the command: exit 0 when no file has an error, 3 otherwise. Warnings do not count.
///
/// # Errors
/// The report cannot be written.
pub fn run(args: &CheckArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let report = examine(&args.files);
    match args.output {
        OutputForm::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        OutputForm::Text => write_text(&report, out)?,
    }
    Ok(if report.ok { Exit::Pass } else { Exit::Error })
}

fn examine(paths: &[PathBuf]) -> Report {
    let mut report = Report::default();
    let mut named = Named::default();
    for path in paths {
        if !path.is_dir() {
            examine_file(path, &mut named, &mut report);
            continue;
        }
        match plans::plan_files(path) {
            Ok(files) => {
                if files.is_empty() {
                    let name = path.display().to_string();
                    let message = "the folder holds no plan file (*.yaml, *.yml, *.json)";
                    report
                        .problems
                        .push(Problem::of_file(&name, ProblemCode::Unreadable, message));
                }
                for file in files {
                    examine_file(&file, &mut named, &mut report);
                }
            }
            Err(problems) => report.problems.extend(problems.items),
        }
    }
    report.problems.extend(misfits(&named));
    report.ok = report
        .problems
        .iter()
        .all(|problem| problem.severity == Severity::Warning);
    report
}

/// Plans that a configuration they are named with has no source for, or none in time. Which daemon
/// they are for nobody said, so these are no errors.
fn misfits(named: &Named) -> Vec<Problem> {
    let of_config = |known: &NamedConfig| {
        let plans = named.plans.iter();
        let others = plans.filter(|plan| !known.own.contains(&plan.hash()));
        let found = pull::rules::misfits(&known.config, &known.places, others);
        found.collect::<Vec<Problem>>()
    };
    let mut found: Vec<Problem> = named.configs.iter().flat_map(of_config).collect();
    for problem in &mut found {
        problem.severity = Severity::Warning;
    }
    found
}

fn examine_file(path: &Path, named: &mut Named, report: &mut Report) {
    let name = path.display().to_string();
    let result = if plans::is_plan_file(path) {
        examine_plan(path, &name, named)
    } else if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        examine_config(path, &name, named)
    } else if is_calibration(path) {
        plans::read_text(path)
            .and_then(|text| parse_calibration(&name, &text))
            .map(|calibration| {
                let sound = Sound {
                    file: name.clone(),
                    plan: Some(calibration.plan),
                    hash: None,
                    looks: None,
                };
                (sound, Vec::new())
            })
    } else if !path.exists() {
        let message = "there is no such file or folder";
        Err(Problem::of_file(&name, ProblemCode::Unreadable, message).into())
    } else {
        let message = "the name does not say what it is";
        let problem = Problem::of_file(&name, ProblemCode::Unreadable, message);
        Err(problem
            .with_help("plans end in .yaml, .yml or .json, configuration in .toml")
            .into())
    };
    match result {
        Ok((sound, warnings)) => {
            report.files.push(sound);
            report.problems.extend(warnings);
        }
        Err(problems) => report.problems.extend(problems.items),
    }
}

/// The configuration by itself, then its webhooks as the daemon would start them. A secret that is
/// not here is no problem here; one that is must be one.
fn examine_config(
    path: &Path,
    name: &str,
    named: &mut Named,
) -> Result<(Sound, Vec<Problem>), Problems> {
    let text = layers::read_file(path)?;
    let (config, places) = layers::check_config_file(name, &text)?;
    // Plans that cannot be read are told where they are checked.
    let plans = plans::load_directory(&config.plans.directory).ok();
    let names = plans.as_ref().map(|loaded| loaded.plans.keys().cloned());
    let names: Option<Vec<String>> = names.map(Iterator::collect);
    let readable = |entry: &Webhook| secrets::read(entry).filter(Result::is_ok);
    let mut found = rules::check(&config, &places, names.as_deref(), readable);
    let plans = plans.iter().flat_map(|loaded| loaded.plans.values());
    let plans = plans.map(|plan| &**plan);
    let own = plans.clone().map(Plan::hash).collect();
    found.extend(pull::rules::check(&config, &places, plans));
    found.extend(misfit_of_tls(&config, &places));
    named.configs.push(NamedConfig {
        config,
        places,
        own,
    });
    if found
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(Problems::sorted(found));
    }
    let sound = Sound {
        file: name.to_owned(),
        plan: None,
        hash: None,
        looks: None,
    };
    Ok((sound, found))
}

/// What is wrong with the files of the listener, where they are here.
fn misfit_of_tls(config: &Config, places: &Places) -> Option<Problem> {
    let settings = config.server.tls.as_ref()?;
    let files = [&settings.certificate_file, &settings.key_file];
    let mut files = files.into_iter().chain(settings.asked_of_clients());
    if files.any(|path| !path.exists()) {
        return None;
    }
    let fault = tls::load(settings, SystemClock.now()).err()?;
    let help = "davy serve does not start with it, and a davy that runs keeps what was before";
    Some(places.problem("server.tls", fault, help))
}

fn examine_plan(
    path: &Path,
    name: &str,
    named: &mut Named,
) -> Result<(Sound, Vec<Problem>), Problems> {
    let parsed = plans::read_plan(path)?;
    // The same file named twice is no second plan.
    if let Some(other) = named
        .plan_origins
        .get(&parsed.plan.name)
        .filter(|other| *other != path)
    {
        let message = format!(
            "the plan `{}` is in {} too",
            parsed.plan.name,
            other.display()
        );
        let problem = Problem::of_file(name, ProblemCode::Conflict, message);
        return Err(problem.with_help("rename one of them").into());
    }
    let origins = &mut named.plan_origins;
    let is_new = origins
        .insert(parsed.plan.name.clone(), path.to_owned())
        .is_none();
    let sound = Sound {
        file: name.to_owned(),
        hash: Some(parsed.plan.hash()),
        looks: Some(parsed.plan.looks()),
        plan: Some(parsed.plan.name.clone()),
    };
    if is_new {
        named.plans.push(parsed.plan);
    }
    Ok((sound, parsed.warnings))
}

fn write_text(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    for sound in &report.files {
        write!(out, "{}: ok", sound.file)?;
        if let (Some(plan), Some(hash), Some(looks)) = (&sound.plan, &sound.hash, sound.looks) {
            write!(out, ": plan {plan}, {looks} looks, hash {}", &hash[..12])?;
        }
        writeln!(out)?;
    }
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    let count = |severity| {
        report
            .problems
            .iter()
            .filter(|p| p.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors + warnings > 0 {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        writeln!(
            out,
            "{errors} error{}, {warnings} warning{}",
            plural(errors),
            plural(warnings)
        )?;
    }
    Ok(())
}
