//! `devices.timer`: wakes objects when the host says that it is time. What the time is counted in is the host's affair.
//!
//! `setWakeup(when, handler)` takes a Number for a delay, as in 2019, or a BigInt for a time, as today; `wake` gets the time in
//! the same form. A repeater is an index: `createRepeater(start, interval)`, `schedule(index, handler)`, `deleteRepeater(index)`.

use super::value::Dialect;
use super::{Arguments, CapData, Device, Handler, Kept, MAX_SAFE_INTEGER, Outlet, Value, insist_root, kept_state, no_method};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many wakeups and repeaters there may be at a time, each.
pub const MAX_EVENTS: usize = 100_000;

const METHODS: [&str; 7] =
    ["createRepeater", "deleteRepeater", "getLastPolled", "makeRepeater", "removeWakeup", "schedule", "setWakeup"];

#[derive(Debug, Serialize, Deserialize)]
struct Event {
    handler: Handler,
    /// The repeater that puts it back.
    repeater: Option<u64>,
    /// Whether the time is a BigInt for it.
    big: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Repeater {
    start: u64,
    interval: u64,
}

impl Repeater {
    /// The first of its times after `now`; before its start, one that is a whole number of intervals away from it.
    fn after(&self, now: u64) -> u64 {
        // No repeater is made without an interval, but a row may say what it likes.
        let interval = self.interval.max(1);
        match now.checked_sub(self.start) {
            Some(age) => (now - age % interval).saturating_add(interval),
            None => now.saturating_add(interval).saturating_add((self.start - now) % interval),
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    last_polled: u64,
    next_repeater: u64,
    repeaters: BTreeMap<u64, Repeater>,
    deadlines: BTreeMap<u64, Vec<Event>>,
    events: usize,
}

/// The device.
#[derive(Debug, Default)]
pub struct Timer {
    kept: Kept<State>,
}

fn time(value: u64, big: bool) -> Value {
    if big { Value::BigInt(value.to_string()) } else { Value::Number(value as f64) }
}

impl Timer {
    /// The device with the state of `save()`.
    pub fn load(saved: &str) -> Result<Self, String> {
        Ok(Self { kept: Kept::load("timer", saved)? })
    }

    /// It is `now`: wakes what is due, in the order of its time. Whether anything was.
    pub fn poll(&mut self, now: u64, outlet: &mut dyn Outlet) -> Result<bool, String> {
        let last = self.kept.state.last_polled;
        if now <= last {
            return Err(format!("Time is monotonic. {now} must be greater than {last}"));
        }
        if now > MAX_SAFE_INTEGER {
            return Err(format!("{now} is not a safe integer"));
        }
        let state = self.kept.change();
        state.last_polled = now;
        let later = state.deadlines.split_off(&(now + 1));
        let due = std::mem::replace(&mut state.deadlines, later);
        let woken = !due.is_empty();
        for (at, events) in due {
            for event in events {
                state.events -= 1;
                event.handler.send(outlet, "wake", vec![time(at, event.big)]);
                if let Some(repeater) = event.repeater.and_then(|index| state.repeaters.get(&index)) {
                    let next = repeater.after(now);
                    state.events += 1;
                    state.deadlines.entry(next).or_default().push(event);
                }
            }
        }
        Ok(woken)
    }

    /// When something is to be woken next.
    pub fn next_wakeup(&self) -> Option<u64> {
        self.kept.state.deadlines.keys().next().copied()
    }

    /// What time it was last.
    pub fn last_polled(&self) -> u64 {
        self.kept.state.last_polled
    }

    fn add(&mut self, at: u64, event: Event) -> Result<(), String> {
        if self.kept.state.events >= MAX_EVENTS {
            return Err(format!("there are {MAX_EVENTS} wakeups already"));
        }
        if at > MAX_SAFE_INTEGER {
            return Err(format!("{at} is not a safe integer"));
        }
        let state = self.kept.change();
        state.events += 1;
        state.deadlines.entry(at).or_default().push(event);
        Ok(())
    }

    fn remove(&mut self, handler: &Handler) -> Vec<u64> {
        let mut times = Vec::new();
        let state = self.kept.change();
        state.deadlines.retain(|at, events| {
            let before = events.len();
            events.retain(|event| event.handler.slot != handler.slot);
            times.extend(std::iter::repeat_n(*at, before - events.len()));
            !events.is_empty()
        });
        state.events -= times.len();
        times
    }
}

impl Device for Timer {
    fn name(&self) -> &str {
        "timer"
    }

    fn call(&mut self, _: &mut dyn Outlet, target: &str, method: &str, args: &CapData) -> Result<CapData, String> {
        insist_root(target)?;
        let mut args = Arguments::read(args)?;
        let modern = args.dialect == Dialect::Smallcaps;
        match method {
            "setWakeup" => {
                let when = args.next();
                let Some(number) = when.as_nat() else { return Err(format!("{} is not a time", when.describe())) };
                let handler = args.handler()?;
                let big = matches!(when, Value::BigInt(_));
                let at = if big { number } else { self.kept.state.last_polled.saturating_add(number) };
                self.add(at, Event { handler, repeater: None, big })?;
                args.answer(time(at, big))
            }
            "removeWakeup" => {
                let handler = args.handler()?;
                let times = self.remove(&handler);
                args.answer(Value::Array(times.into_iter().map(|at| time(at, modern)).collect()))
            }
            "getLastPolled" => args.answer(time(self.kept.state.last_polled, modern)),
            "createRepeater" | "makeRepeater" => {
                let (start, interval) = (args.nat()?, args.nat()?);
                if interval == 0 || start > MAX_SAFE_INTEGER || interval > MAX_SAFE_INTEGER {
                    return Err("a repeater's interval is a positive number".into());
                }
                if self.kept.state.repeaters.len() >= MAX_EVENTS {
                    return Err(format!("there are {MAX_EVENTS} repeaters already"));
                }
                let state = self.kept.change();
                let index = state.next_repeater;
                state.next_repeater += 1;
                state.repeaters.insert(index, Repeater { start, interval });
                args.answer(Value::Number(index as f64))
            }
            "deleteRepeater" => {
                let index = args.nat()?;
                self.kept.change().repeaters.remove(&index);
                args.answer(Value::Number(index as f64))
            }
            "schedule" => {
                let index = args.nat()?;
                let handler = args.handler()?;
                let state = &self.kept.state;
                let Some(repeater) = state.repeaters.get(&index) else { return Err(format!("there is no repeater {index}")) };
                let at = repeater.after(state.last_polled);
                self.add(at, Event { handler, repeater: Some(index), big: modern })?;
                args.answer(time(at, modern))
            }
            _ => Err(no_method(method, &METHODS)),
        }
    }

    kept_state!();
}
