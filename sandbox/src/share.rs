//! A heap that readers on other threads follow, while its owner goes on.
//!
//! ```text
//! owner     publish ── runs a piece of work ── commit ── publish ── …
//!             │ hot pages copied aside           │ version + 1
//! shared    [ image │ hot pages │ stamps │ attachment ]      one lock, held for microseconds
//!             │ pages that changed since the reader's version
//! reader    follow ── runs, is rolled back ── follow ── …
//! ```
//!
//! While a piece of work runs, the image and the pages copied aside are the heap as it was before. So a reader need not wait
//! for it. Between two pieces of work the owner has to publish, or to be asked to.
//!
//! Invariant: the image file, and the list of hot pages, change only under the lock.

use crate::heap::PAGE_BYTES;
use crate::host::Fault;
use std::any::Any;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// What belongs to the heap and comes with it: the owner's choice.
pub type Attachment = Arc<dyn Any + Send + Sync>;

/// How long a reader waits before it asks again.
const PATIENCE: Duration = Duration::from_millis(50);

/// The heap of a realm, as other threads can follow it. Clones are of the same heap.
#[derive(Clone, Default)]
pub struct SharedHeap(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    published: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    /// Counts what the owner has committed.
    pub version: u64,
    /// Bytes of the heap.
    pub len: usize,
    image: Option<File>,
    /// For each page the version at which it may last have changed.
    stamps: Vec<u64>,
    /// Pages that are not as the image has them, in order, and their content.
    hot: Vec<u32>,
    bytes: Vec<u8>,
    /// Set while `bytes` are those of `version`.
    attachment: Option<Attachment>,
    /// The owner will never publish again.
    gone: bool,
}

impl SharedHeap {
    /// The owner ends.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.gone = true;
        state.attachment = None;
        drop(state);
        self.0.published.notify_all();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panics with it")
    }

    /// Tells the readers that `version` can be copied now.
    pub(crate) fn publish(&self, hot: &[u32], bytes: &[u8], attachment: Attachment) {
        let mut state = self.lock();
        state.hot.clear();
        state.hot.extend_from_slice(hot);
        state.bytes.clear();
        state.bytes.extend_from_slice(bytes);
        state.attachment = Some(attachment);
        drop(state);
        self.0.published.notify_all();
    }

    /// Waits until the present version can be copied, and copies what has changed since `version`. `ask` is called, without the
    /// lock, when the owner has to be asked to publish. If the heap has another length than `len`, nothing is copied: see [`Followed`].
    pub(crate) fn follow(
        &self,
        version: u64,
        len: usize,
        mut ask: impl FnMut(),
        mut write: impl FnMut(u32, &dyn Fn(&mut [u8]) -> std::io::Result<()>) -> std::io::Result<()>,
    ) -> Result<Followed, Fault> {
        let mut state = self.lock();
        while state.attachment.is_none() {
            if state.gone {
                return Err(Fault("the heap's owner is gone".into()));
            }
            drop(state);
            ask();
            state = self.lock();
            if state.attachment.is_none() {
                // It may be published, and outdated by the owner's next piece of work, before this thread wakes: then it asks again.
                let woken = self.0.published.wait_timeout(state, PATIENCE).expect("nobody panics with it");
                state = woken.0;
            }
        }
        let attachment = state.attachment.clone().expect("just seen");
        if state.len != len {
            return Ok(Followed { version: 0, len: state.len, attachment });
        }
        let image = state.image.as_ref().ok_or_else(|| Fault("a shared heap without an image".into()))?;
        let failed = |error| Fault(format!("following a heap: {error}"));
        for (index, _) in state.stamps.iter().enumerate().filter(|(_, stamp)| **stamp > version) {
            let index = index as u32;
            let read = |page: &mut [u8]| match state.hot.binary_search(&index) {
                Ok(slot) => {
                    page.copy_from_slice(&state.bytes[slot * PAGE_BYTES..][..PAGE_BYTES]);
                    Ok(())
                }
                Err(_) => image.read_exact_at(page, index as u64 * PAGE_BYTES as u64),
            };
            write(index, &read).map_err(failed)?;
        }
        Ok(Followed { version: state.version, len, attachment })
    }
}

/// What a reader has caught up with.
pub(crate) struct Followed {
    /// 0 if nothing was copied, since the length is another.
    pub version: u64,
    pub len: usize,
    pub attachment: Attachment,
}

impl State {
    /// The owner goes on to another version: the pages that may be other than before.
    pub fn advance<'a>(&mut self, pages: impl Iterator<Item = &'a u32>) {
        self.version += 1;
        self.attachment = None;
        for &page in pages {
            if let Some(stamp) = self.stamps.get_mut(page as usize) {
                *stamp = self.version;
            }
        }
    }

    /// The heap has another image or length: everything may be other than before.
    pub fn restart(&mut self, image: &File, len: usize) -> std::io::Result<()> {
        self.version += 1;
        self.attachment = None;
        self.len = len;
        self.stamps.clear();
        self.stamps.resize(len / PAGE_BYTES, self.version);
        self.image = Some(image.try_clone()?);
        Ok(())
    }
}
