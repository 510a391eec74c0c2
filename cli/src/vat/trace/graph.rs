//! The causal graph: cranks, what each has sent and resolved, and which crank came of that.

use machine::vats::Event;
use std::collections::{HashMap, VecDeque};

/// What a vat was given, and what it made of it.
pub struct Crank<'a> {
    /// Its number.
    pub number: u64,
    /// `v1`
    pub vat: &'a str,
    /// A message, a notification, or something else. None for what the kernel does on its own.
    pub given: Option<&'a Event>,
    /// In the order in which it was done.
    pub effects: Vec<Effect<'a>>,
    /// Something is known to have caused it.
    pub is_caused: bool,
}

/// Something that a vat has sent or resolved; or its end.
pub struct Effect<'a> {
    /// What.
    pub event: &'a Event,
    /// To which crank a message has led.
    pub delivered: Option<usize>,
    /// Which cranks have told vats of a promise: the resolved one; the result of a message, if the kernel itself has resolved that.
    pub told: Vec<usize>,
}

/// An effect: its crank, and its place there.
type Cause = (usize, usize);

/// See the [module](self).
pub struct Graph<'a> {
    /// In the order in which they ran.
    pub cranks: Vec<Crank<'a>>,
    /// From a promise's resolution to a crank in which a vat was told of it: crank, crank, promise.
    pub told: Vec<(usize, usize, &'a str)>,
}

/// Who waits to be found as the cause of something.
#[derive(Default)]
struct Causes<'a> {
    /// Messages by the promise for their result, which no two have.
    by_result: HashMap<&'a str, Cause>,
    /// Messages without one, by target and method: they come in the order in which they were sent.
    by_target: HashMap<(&'a str, &'a str), VecDeque<Cause>>,
    /// Of these, the ones to promises, by method: they may come to whatever the promise became.
    by_method: HashMap<&'a str, VecDeque<Cause>>,
    /// Resolutions, by promise.
    by_promise: HashMap<&'a str, Cause>,
}

impl<'a> Graph<'a> {
    /// Of events in the order in which they happened.
    pub fn of(events: &'a [Event]) -> Graph<'a> {
        let mut graph = Graph { cranks: Vec::new(), told: Vec::new() };
        let mut causes = Causes::default();
        for event in events {
            match event {
                Event::Deliver { crank, vat, target, method, result, .. } => {
                    let at = graph.begin(*crank, vat, event);
                    if let Some(cause) = graph.sender(&mut causes, target, method, result.as_deref()) {
                        graph.effect(cause).delivered = Some(at);
                        graph.cranks[at].is_caused = true;
                    }
                }
                Event::Notify { crank, vat, promises } => {
                    let at = graph.begin(*crank, vat, event);
                    graph.tells(&causes, at, promises);
                }
                Event::Other { crank, vat, .. } => {
                    graph.begin(*crank, vat, event);
                }
                Event::Send { crank, vat, target, method, result } => {
                    let cause = graph.add(*crank, vat, event);
                    causes.sent(cause, target, method, result.as_deref());
                }
                Event::Resolve { crank, vat, promise, .. } => {
                    let cause = graph.add(*crank, vat, event);
                    causes.by_promise.insert(promise, cause);
                }
                Event::Terminated { crank, vat, .. } => {
                    graph.add(*crank, vat, event);
                }
            }
        }
        graph
    }

    fn begin(&mut self, number: u64, vat: &'a str, given: &'a Event) -> usize {
        self.cranks.push(Crank { number, vat, given: Some(given), effects: Vec::new(), is_caused: false });
        self.cranks.len() - 1
    }

    /// Adds an effect to the crank that runs.
    fn add(&mut self, number: u64, vat: &'a str, event: &'a Event) -> Cause {
        if self.cranks.last().is_none_or(|crank| (crank.number, crank.vat) != (number, vat)) {
            self.cranks.push(Crank { number, vat, given: None, effects: Vec::new(), is_caused: false });
        }
        let at = self.cranks.len() - 1;
        let effects = &mut self.cranks[at].effects;
        effects.push(Effect { event, delivered: None, told: Vec::new() });
        (at, effects.len() - 1)
    }

    fn effect(&mut self, (crank, place): Cause) -> &mut Effect<'a> {
        &mut self.cranks[crank].effects[place]
    }

    /// Where a message was sent that is delivered now.
    fn sender(&mut self, causes: &mut Causes<'a>, target: &'a str, method: &'a str, result: Option<&str>) -> Option<Cause> {
        if let Some(result) = result {
            return causes.by_result.get(result).copied();
        }
        if let Some(cause) = self.first(causes.by_target.get_mut(&(target, method))) {
            return Some(cause);
        }
        self.first(causes.by_method.get_mut(method))
    }

    /// The first one that has not been delivered. A message to a promise stands in two queues.
    fn first(&mut self, queue: Option<&mut VecDeque<Cause>>) -> Option<Cause> {
        let queue = queue?;
        while let Some(cause) = queue.pop_front() {
            if self.effect(cause).delivered.is_none() {
                return Some(cause);
            }
        }
        None
    }

    /// Crank `at` tells of promises: it is shown below the last of their resolutions.
    fn tells(&mut self, causes: &Causes<'a>, at: usize, promises: &'a [String]) {
        let mut last = None;
        for promise in promises {
            let cause = causes.by_promise.get(promise.as_str()).or_else(|| causes.by_result.get(promise.as_str()));
            if let Some(&cause) = cause {
                self.told.push((cause.0, at, promise));
                last = last.max(Some(cause));
            }
        }
        if let Some(cause) = last {
            self.effect(cause).told.push(at);
            self.cranks[at].is_caused = true;
        }
    }
}

impl<'a> Causes<'a> {
    fn sent(&mut self, cause: Cause, target: &'a str, method: &'a str, result: Option<&'a str>) {
        match result {
            Some(result) => {
                self.by_result.insert(result, cause);
            }
            None => {
                self.by_target.entry((target, method)).or_default().push_back(cause);
                if target.starts_with("kp") {
                    self.by_method.entry(method).or_default().push_back(cause);
                }
            }
        }
    }
}
