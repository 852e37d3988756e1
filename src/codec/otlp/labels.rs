//! Attributes into labels.
//!
//! Owns which attributes of a resource, a scope and a data point become labels of a series, under
//! what names, and which of two wins; and how much of them is kept while they are read. All texts
//! lie behind each other in buffers that are used again for the next data point. How attributes
//! are written on the wire is the business of the readers.

use std::ops::Range;

use super::super::Limits;
use super::super::number::{Problem, quoted};
use super::names;
use crate::model::series::NAME_LABEL;

/// How deep lists may lie in lists in an attribute's value.
pub(super) const VALUE_DEPTH_MAX: usize = 8;

/// Resource attributes that are no labels: how the telemetry was made and how the process was
/// started. They are long, the same in both arms or different for each process, and with them
/// nearly every series would have more labels than may be.
const LEFT_OUT: [&str; 8] = [
    "os.description",
    "process.command",
    "process.command_args",
    "process.command_line",
    "process.executable.name",
    "process.executable.path",
    "process.runtime.description",
    "telemetry.",
];

/// What holds the attributes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// `service.name` and its kin become `job` and `instance`; some are left out.
    Resource,
    /// `otel_scope_` stands before each.
    Scope,
    /// A data point.
    Point,
}

/// The attributes of one owner as labels.
#[derive(Debug)]
pub(super) struct Level {
    owner: Owner,
    count_max: usize,
    bytes_max: usize,
    /// Names and values.
    text: String,
    labels: Vec<Label>,
    /// The label whose value is being written.
    open: Option<Label>,
    service: Service,
    /// Bytes of names and values together.
    bytes: usize,
    problem: Option<Problem>,
}

/// A label's parts in the text of its level.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    name: Range<usize>,
    value: Range<usize>,
    /// The attribute's key as it was sent.
    key: Range<usize>,
}

/// Values that name the service.
#[derive(Debug, Default, Clone)]
struct Service {
    name: Option<Range<usize>>,
    namespace: Option<Range<usize>>,
    instance: Option<Range<usize>>,
}

/// The labels that all data points of a metric share: those of its resource and scope, and its name.
#[derive(Debug)]
pub(super) struct LabelSet {
    /// Of the resource.
    pub resource: Level,
    /// Of the scope.
    pub scope: Level,
    /// Of the data point that is being read.
    pub point: Level,
    /// Resource and scope, sorted; then the metric's name among them.
    shared: Shared,
}

#[derive(Debug, Default)]
struct Shared {
    text: String,
    /// Name and value.
    labels: Vec<(Range<usize>, Range<usize>)>,
    /// Bytes of `text` without the metric's name.
    scope_end: usize,
    /// Where the metric's name stands among the labels.
    name_at: Option<usize>,
}

// === impl Level ===

impl Level {
    /// No attributes yet.
    pub fn new(owner: Owner, limits: &Limits) -> Level {
        Level {
            owner,
            count_max: limits.label_count_max,
            bytes_max: limits.label_bytes_max,
            text: String::new(),
            labels: Vec::new(),
            open: None,
            service: Service::default(),
            bytes: 0,
            problem: None,
        }
    }

    /// Forgets all attributes; another owner of the same kind is read.
    pub fn clear(&mut self) {
        self.text.clear();
        self.labels.clear();
        self.open = None;
        self.service = Service::default();
        self.bytes = 0;
        self.problem = None;
    }

    /// Begins an attribute. Where it is not wanted, says so: its value need not be read.
    pub fn begin(&mut self, key: &str) -> bool {
        self.open = None;
        if self.problem.is_some() || self.is_left_out(key) {
            return false;
        }
        if key.is_empty() {
            self.spoil("bad_label_name", "an attribute without a key; give it one");
            return false;
        }
        self.open(key)
    }

    fn open(&mut self, key: &str) -> bool {
        let room = self.bytes_max.saturating_sub(self.bytes);
        if key.len() > room {
            self.spoil_by_length();
            return false;
        }
        let from = self.text.len();
        if self.owner == Owner::Scope {
            self.text.push_str("otel_scope_");
        }
        let is_changed = names::label_name(&mut self.text, key);
        let name = from..self.text.len();
        if &self.text[name.clone()] == NAME_LABEL {
            // The name is the metric's, not an attribute's.
            self.text.truncate(from);
            return false;
        }
        let mut key_at = name.clone();
        if is_changed {
            key_at = self.text.len()..self.text.len() + key.len();
            self.text.push_str(key);
        }
        self.bytes += name.len();
        let value = self.text.len()..self.text.len();
        self.open = Some(Label {
            name,
            value,
            key: key_at,
        });
        true
    }

    /// Adds to the value of the attribute that was begun.
    pub fn write(&mut self, text: &str) {
        if self.open.is_none() {
            return;
        }
        self.bytes += text.len();
        if self.bytes > self.bytes_max {
            self.open = None;
            self.spoil_by_length();
            return;
        }
        self.text.push_str(text);
    }

    /// Whether more of the value is wanted.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Ends the attribute that was begun. An empty value is the same as none.
    pub fn end(&mut self) {
        let Some(mut label) = self.open.take() else {
            return;
        };
        label.value.end = self.text.len();
        if label.value.is_empty() {
            self.bytes -= label.name.len();
            self.text.truncate(label.name.start);
            return;
        }
        if self.owner == Owner::Resource {
            let slot = match &self.text[label.key.clone()] {
                "service.name" => Some(&mut self.service.name),
                "service.namespace" => Some(&mut self.service.namespace),
                "service.instance.id" => Some(&mut self.service.instance),
                _ => None,
            };
            if let Some(slot) = slot {
                *slot = Some(label.value);
                return;
            }
        }
        if self.labels.len() >= self.count_max {
            let most = self.count_max;
            let message = format!("more than {most} labels; at most {most} are allowed");
            self.spoil("too_many_labels", message);
            return;
        }
        self.labels.push(label);
    }

    /// The scope's own `name` or `version`.
    pub fn of_scope(&mut self, key: &str, text: &str) {
        if self.problem.is_none() && self.open(key) {
            self.write(text);
            self.end();
        }
    }

    /// Remembers why nothing with these attributes can be taken; the first reason stays.
    pub fn spoil(&mut self, code: &'static str, message: impl Into<String>) {
        self.open = None;
        self.problem
            .get_or_insert_with(|| Problem::new(code, message));
    }

    /// What spoilt the attributes.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    fn spoil_by_length(&mut self) {
        let most = self.bytes_max;
        self.spoil(
            "labels_too_long",
            format!("labels of more than {most} bytes; at most {most} are allowed"),
        );
    }

    fn is_left_out(&self, key: &str) -> bool {
        match self.owner {
            Owner::Resource => LEFT_OUT
                .iter()
                .any(|known| key == *known || known.ends_with('.') && key.starts_with(known)),
            // These words are the scope's own.
            Owner::Scope => key == "name" || key == "version",
            Owner::Point => false,
        }
    }

    /// Puts the labels in order once all attributes are read.
    pub fn settle(&mut self) {
        let Level { text, labels, .. } = self;
        let is_before = |a: &Label, b: &Label| text[a.name.clone()] < text[b.name.clone()];
        if !labels.is_sorted_by(is_before) {
            labels.sort_by(|a, b| {
                let order = text[a.name.clone()].cmp(&text[b.name.clone()]);
                order.then_with(|| text[a.key.clone()].cmp(&text[b.key.clone()]))
            });
            self.join();
        }
        if self.owner == Owner::Resource {
            self.name_service();
        }
    }

    /// Several keys can have one name as labels: their values are joined with `;`, in the order
    /// of the keys. A key that is given twice spoils the set.
    fn join(&mut self) {
        let twice = self.labels.windows(2).find(|pair| {
            let [a, b] = [&pair[0], &pair[1]].map(|label| &self.text[label.key.clone()]);
            a == b
        });
        if let Some(pair) = twice {
            let key = quoted(&self.text[pair[1].key.clone()]);
            self.spoil(
                "duplicate_label",
                format!("the attribute {key} is given twice; give it once"),
            );
            return;
        }
        let Level { text, labels, .. } = self;
        labels.dedup_by(|label, kept| {
            if text[label.name.clone()] != text[kept.name.clone()] {
                return false;
            }
            let from = text.len();
            text.extend_from_within(kept.value.clone());
            text.push(';');
            text.extend_from_within(label.value.clone());
            kept.value = from..text.len();
            true
        });
    }

    /// `service.name` with `service.namespace` before it is the job, `service.instance.id` the
    /// instance; a resource's own attributes of these names give way.
    fn name_service(&mut self) {
        let Service {
            name,
            namespace,
            instance,
        } = std::mem::take(&mut self.service);
        if name.is_some() || namespace.is_some() {
            let from = self.text.len();
            if let Some(namespace) = &namespace {
                self.text.extend_from_within(namespace.clone());
            }
            if namespace.is_some() && name.is_some() {
                self.text.push('/');
            }
            if let Some(name) = &name {
                self.text.extend_from_within(name.clone());
            }
            let value = from..self.text.len();
            let label = if name.is_some() {
                "job"
            } else {
                "service_namespace"
            };
            self.set(label, value);
        }
        if let Some(instance) = instance {
            self.set("instance", instance);
        }
    }

    fn set(&mut self, name: &str, value: Range<usize>) {
        let found = self
            .labels
            .binary_search_by(|label| self.text[label.name.clone()].cmp(name));
        match found {
            Ok(at) => self.labels[at].value = value,
            Err(at) => {
                let from = self.text.len();
                self.text.push_str(name);
                let name = from..self.text.len();
                let key = name.clone();
                self.labels.insert(at, Label { name, value, key });
            }
        }
    }

    /// Names and values, by name; settled.
    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = |range: &Range<usize>| &self.text[range.clone()];
        self.labels
            .iter()
            .map(move |label| (text(&label.name), text(&label.value)))
    }
}

impl std::fmt::Write for Level {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.write(text);
        Ok(())
    }
}

// === impl LabelSet ===

impl LabelSet {
    /// No labels yet.
    pub fn new(limits: &Limits) -> LabelSet {
        LabelSet {
            resource: Level::new(Owner::Resource, limits),
            scope: Level::new(Owner::Scope, limits),
            point: Level::new(Owner::Point, limits),
            shared: Shared::default(),
        }
    }

    /// Takes the scope's and the resource's labels, both settled, for the metrics that follow.
    pub fn share(&mut self) {
        let shared = &mut self.shared;
        shared.text.clear();
        shared.labels.clear();
        shared.name_at = None;
        for (name, value) in Merged::of(self.resource.iter(), self.scope.iter()) {
            let from = shared.text.len();
            shared.text.push_str(name);
            let middle = shared.text.len();
            shared.text.push_str(value);
            let label = (from..middle, middle..shared.text.len());
            shared.labels.push(label);
        }
        shared.scope_end = shared.text.len();
    }

    /// Names the series that follow; `write` puts the name behind the text it is given.
    pub fn name(&mut self, write: impl FnOnce(&mut String)) {
        let shared = &mut self.shared;
        if let Some(at) = shared.name_at.take() {
            shared.labels.remove(at);
        }
        shared.text.truncate(shared.scope_end);
        let from = shared.text.len();
        shared.text.push_str(NAME_LABEL);
        let middle = shared.text.len();
        write(&mut shared.text);
        let label = (from..middle, middle..shared.text.len());
        let at = shared
            .labels
            .partition_point(|(name, _)| &shared.text[name.clone()] < NAME_LABEL);
        shared.labels.insert(at, label);
        shared.name_at = Some(at);
    }

    /// The name that was given last.
    pub fn metric_name(&self) -> &str {
        let shared = &self.shared;
        let label = shared.name_at.and_then(|at| shared.labels.get(at));
        label.map_or("", |(_, value)| &shared.text[value.clone()])
    }

    /// All labels of the data point, by name; where it and what is around it have one of the same
    /// name, the data point's.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let shared = &self.shared;
        let text = |range: &Range<usize>| &shared.text[range.clone()];
        let around = shared
            .labels
            .iter()
            .map(move |(name, value)| (text(name), text(value)));
        Merged::of(around, self.point.iter())
    }
}

/// Two sorted label sets as one; the second wins.
struct Merged<'t, A: Iterator<Item = (&'t str, &'t str)>, B: Iterator<Item = (&'t str, &'t str)>> {
    outer: std::iter::Peekable<A>,
    inner: std::iter::Peekable<B>,
}

// === impl Merged ===

impl<'t, A, B> Merged<'t, A, B>
where
    A: Iterator<Item = (&'t str, &'t str)>,
    B: Iterator<Item = (&'t str, &'t str)>,
{
    fn of(outer: A, inner: B) -> Merged<'t, A, B> {
        Merged {
            outer: outer.peekable(),
            inner: inner.peekable(),
        }
    }
}

impl<'t, A, B> Iterator for Merged<'t, A, B>
where
    A: Iterator<Item = (&'t str, &'t str)>,
    B: Iterator<Item = (&'t str, &'t str)>,
{
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<(&'t str, &'t str)> {
        let order = match (self.outer.peek(), self.inner.peek()) {
            (Some((outer, _)), Some((inner, _))) => outer.cmp(inner),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, _) => std::cmp::Ordering::Greater,
        };
        match order {
            std::cmp::Ordering::Less => self.outer.next(),
            std::cmp::Ordering::Equal => {
                self.outer.next();
                self.inner.next()
            }
            std::cmp::Ordering::Greater => self.inner.next(),
        }
    }
}
