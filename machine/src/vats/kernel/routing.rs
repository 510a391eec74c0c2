//! Where a message goes.

use super::refs::{KRef, Party};
use super::tables::{Item, PromiseState};
use super::{Delivery, Dialect, Kernel, Message, Next};

impl Kernel {
    /// A message has come to the front of the queue.
    pub(super) fn route(&mut self, target: KRef, message: Message) -> Next {
        // The queue's reference to the target; those of the message last until it is delivered.
        let mut at = target;
        loop {
            let promise = match at {
                KRef::Object(id) => match self.tables.object(id).and_then(|object| object.owner) {
                    Some(Party::Vat(vat)) => return self.deliver(vat, target, at, message),
                    _ => return self.refuse(target, message, "Error", "vat terminated"),
                },
                KRef::Device(_) => return self.refuse(target, message, "TypeError", "a device cannot be sent to"),
                KRef::Promise(id) => id,
            };
            let Some(state) = self.tables.promise(promise).map(|promise| &promise.state) else {
                return self.refuse(target, message, "Error", "vat terminated");
            };
            match state {
                PromiseState::Resolved { rejected: false, data, .. } => match data.sole_slot() {
                    Some(next) if next != at => at = next,
                    _ => {
                        let text = format!("data is not callable, has no method {}", message.method_name());
                        return self.refuse(target, message, "TypeError", &text);
                    }
                },
                PromiseState::Resolved { data, .. } => {
                    let data = data.clone();
                    if let Some(result) = message.result {
                        self.settle(result, true, data, None);
                    }
                    self.drop_message(target, &message);
                    return Next::Done;
                }
                PromiseState::Unresolved { decider, .. } => {
                    // Whoever decides it can already work on what is asked of it.
                    if let Some(vat) = *decider {
                        return self.deliver(vat, target, at, message);
                    }
                    self.wait_for(promise, message);
                    if target != at {
                        self.refer(at);
                        self.release(target);
                    }
                    return Next::Done;
                }
            }
        }
    }

    /// A message waits for a promise. It counts as one that refers to it.
    fn wait_for(&mut self, id: u64, message: Message) {
        let Some(promise) = self.tables.promise_mut(id) else { return };
        let PromiseState::Unresolved { queue, .. } = &mut promise.state else { return };
        let n = queue.1;
        queue.1 += 1;
        self.tables.put_queued(id, n, message);
    }

    /// Somebody decides a promise from now on: what has waited for it goes there, before what is in the queue for it.
    fn pass_on(&mut self, id: u64) {
        let Some(PromiseState::Unresolved { queue: (from, to), .. }) = self.tables.promise(id).map(|promise| &promise.state)
        else {
            return;
        };
        let (from, to) = (*from, *to);
        if from == to {
            return;
        }
        let later = self.tables.bound_for(id);
        for n in from..to {
            if let Some(message) = self.tables.take_queued(id, n) {
                self.tables.push(Item::Send(KRef::Promise(id), message));
            }
        }
        if let Some(promise) = self.tables.promise_mut(id)
            && let PromiseState::Unresolved { queue, .. } = &mut promise.state
        {
            queue.0 = to;
        }
        self.tables.put_back(&later);
    }

    /// A vat that resolves a promise to something elsewhere sends on what it was given for it. What is still in the queue for the promise
    /// goes there by itself from now on: behind that.
    pub(super) fn keep_order(&mut self) {
        for id in std::mem::take(&mut self.redirected) {
            let later = self.tables.bound_for(id);
            self.tables.put_back(&later);
        }
    }

    /// What a message referred to while it was queued, it refers to no more.
    pub(super) fn drop_message(&mut self, target: KRef, message: &Message) {
        self.release(target);
        for &slot in &message.args.slots {
            self.release(slot);
        }
        if let Some(result) = message.result {
            self.release(KRef::Promise(result));
        }
    }

    fn refuse(&mut self, target: KRef, message: Message, name: &str, text: &str) -> Next {
        if let Some(result) = message.result {
            let dialect: Dialect = message.dialect();
            self.reject(result, dialect, name, text);
        }
        self.drop_message(target, &message);
        Next::Done
    }

    /// The message is the vat's, and with it the right to decide its result.
    fn deliver(&mut self, vat: u64, queued_for: KRef, target: KRef, message: Message) -> Next {
        let party = Party::Vat(vat);
        let known = self.tables.clist(party).and_then(|clist| clist.entry(target)).map(|entry| entry.vref.clone());
        let Some(vref) = known else { return self.refuse(queued_for, message, "Error", "vat terminated") };
        if let KRef::Object(_) = target {
            // Whoever sends to it can reach it.
            self.export(party, target);
        }
        let args = self.export_data(party, &message.args);
        let result = message.result.map(|id| {
            self.set_decider(id, Some(vat));
            self.pass_on(id);
            self.export(party, KRef::Promise(id))
        });
        self.drop_message(queued_for, &message);
        Next::Deliver(vat, Delivery::Message { target: vref, method: message.method, args, result })
    }
}
