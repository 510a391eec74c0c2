//! The engine's allocator: the C library's, with a limit that is counted in bytes and remembers that it was reached.
//!
//! The engine has a limit of its own, but on this target it does not learn how large a block is, so that large ones count for
//! nothing; and when it runs out of memory for the error too, it throws `null`. Here both are known.
//!
//! Invariant: `USED` is the sum of the usable sizes of all live blocks.

use crate::abi::Outcome;
use rquickjs::allocator::Allocator;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn realloc(ptr: *mut c_void, size: usize) -> *mut c_void;
    fn free(ptr: *mut c_void);
    fn malloc_usable_size(ptr: *mut c_void) -> usize;
}

static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
static USED: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Sets the limit, in bytes.
pub fn limit(bytes: usize) {
    LIMIT.store(bytes, Relaxed);
}

/// The limit, in bytes.
pub fn limit_bytes() -> usize {
    LIMIT.load(Relaxed)
}

/// Bytes in use.
pub fn used_bytes() -> usize {
    USED.load(Relaxed)
}

/// Whether something was refused since this was asked last.
pub fn was_refused() -> bool {
    REFUSED.swap(false, Relaxed)
}

/// Why a call fails that was refused memory.
pub fn exhausted(stack: String) -> Outcome {
    let message = format!("The call needed more than {} bytes of heap", limit_bytes());
    Outcome::Failure { name: "HeapLimitError".into(), message, stack }
}

/// Usable bytes of a block.
pub fn block_bytes(ptr: *mut c_void) -> usize {
    // SAFETY: the callers have it from the C library, by way of [`Bounded`].
    unsafe { malloc_usable_size(ptr) }
}

/// From now on the allocators have so many bytes more to give before the memory has to grow: the C library's, which is the
/// engine's, and a little for Rust's own. Nothing but the ends of the room is written.
pub fn make_room(bytes: usize) {
    // SAFETY: any size may be asked for, and what comes is given back.
    unsafe { free(std::hint::black_box(malloc(bytes))) };
    drop(std::hint::black_box(Vec::<u8>::with_capacity(RUST_ROOM_BYTES)));
}

/// Requests, replies and questions: all of Rust's.
const RUST_ROOM_BYTES: usize = 128 << 10;

/// See the module.
pub struct Bounded;

impl Bounded {
    /// Whether there is room for `size` bytes in place of `old`.
    fn admit(&self, old: usize, size: usize) -> bool {
        let fits = (USED.load(Relaxed) - old).checked_add(size).is_some_and(|used| used <= LIMIT.load(Relaxed));
        if !fits {
            REFUSED.store(true, Relaxed);
        }
        fits
    }

    /// Counts a block that has come in place of `old` bytes.
    fn count(&self, old: usize, ptr: *mut c_void) -> *mut u8 {
        if ptr.is_null() {
            REFUSED.store(true, Relaxed);
        } else {
            // SAFETY: a live block of this allocator.
            let size = unsafe { malloc_usable_size(ptr) };
            USED.store(USED.load(Relaxed) - old + size, Relaxed);
        }
        ptr.cast()
    }
}

// SAFETY: blocks come from the C library, which aligns them for every type and gives each its size.
unsafe impl Allocator for Bounded {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        if !self.admit(0, size) {
            return std::ptr::null_mut();
        }
        // SAFETY: any size may be asked for.
        self.count(0, unsafe { malloc(size) })
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        match count.checked_mul(size) {
            Some(total) if self.admit(0, total) => {
                // SAFETY: any size may be asked for.
                self.count(0, unsafe { calloc(count, size) })
            }
            _ => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&mut self, ptr: *mut u8) {
        // SAFETY: the caller has it from us.
        unsafe {
            USED.store(USED.load(Relaxed) - malloc_usable_size(ptr.cast()), Relaxed);
            free(ptr.cast());
        }
    }

    unsafe fn realloc(&mut self, ptr: *mut u8, new_size: usize) -> *mut u8 {
        if ptr.is_null() {
            return self.alloc(new_size);
        }
        // SAFETY: the caller has it from us.
        let old = unsafe { malloc_usable_size(ptr.cast()) };
        if !self.admit(old, new_size) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above; on failure the old block stays as it is, and so does the count.
        self.count(old, unsafe { realloc(ptr.cast(), new_size) })
    }

    unsafe fn usable_size(ptr: *mut u8) -> usize {
        // SAFETY: the caller has it from us.
        unsafe { malloc_usable_size(ptr.cast()) }
    }
}
