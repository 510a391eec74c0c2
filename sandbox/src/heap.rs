//! The heap of a realm: an image in a memfd, mapped private, so that only written pages take memory.
//!
//! ```text
//! 0                                image length            reservation            guard
//! | pages of the image, private    | grown, anonymous      | PROT_NONE             |
//! ```
//!
//! Between two pieces of work the heap is *settled*: a page that is not in `hot` equals the image. `begin` copies the hot
//! pages aside (a few dozen); `rollback` puts them back and drops every other private page, so that the image shows again;
//! `commit` looks for new private pages, but only if the thread had a page fault at all. Now and then hot pages are folded
//! into the image, so that those that are written no more are copied no more. A page that comes back after that is one that
//! calls really write: it stays, until the next sweep folds everything.
//!
//! # Invariants
//!
//! - The memfd is written by `fold` alone, and never while a piece of work runs. When the heap is *frozen*, it is not written
//!   any more: other realms map it too, and each of them is put back to it after every piece of work. The heap of a vat begins
//!   with such an image too, but *keeps* what it writes: nothing is copied aside, folded or undone there.
//! - `hot` lists, in order, every page of the image range that is private to this mapping.

use crate::host::Fault;
use crate::share::{Attachment, SharedHeap};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock};

/// Bytes of a page: the unit in which heaps are copied and saved.
pub const PAGE_BYTES: usize = 4096;

/// To fold a page, and the fault if it comes back, cost about as much as copying it this often. Folding when that much has
/// been copied keeps the hot set near to what calls really write, at no more than twice the least possible cost.
const COPIES_PER_FOLD: usize = 48;

/// Every so many folds is a sweep: also pages that came back after an earlier one are folded, lest they stay for ever.
const FOLDS_PER_SWEEP: u32 = 16;

/// A set this large is folded at once.
const MAX_HOT_PAGES: usize = 512;

/// A heap that many realms begin with. Clones are of the same.
#[derive(Clone, Debug)]
pub struct Image {
    file: Arc<File>,
    len: usize,
}

impl Image {
    /// Bytes of the heap.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    /// An image with this content.
    pub(crate) fn of(bytes: &[u8]) -> Result<Image, Fault> {
        let file = memfd()?;
        file.write_all_at(bytes, 0).map_err(|e| Fault(format!("heap image: {e}")))?;
        Ok(Image { file: Arc::new(file), len: bytes.len() })
    }

    pub(crate) fn read(&self, into: &mut [u8]) -> Result<(), Fault> {
        self.file.read_exact_at(into, 0).map_err(|e| Fault(format!("heap image: {e}")))
    }
}

pub(crate) struct Heap {
    base: *mut u8,
    /// Bytes that the image covers, a multiple of the page size.
    len: usize,
    image: Arc<File>,
    /// Every piece of work begins with the image as it is, which others have too.
    frozen: bool,
    /// It has begun with an image that others have too, and goes its own way: what is written stays, nothing is undone.
    kept: bool,
    hot: Vec<u32>,
    undo: Vec<u8>,
    /// Pages copied aside since the last fold.
    copied: usize,
    /// The next piece of work is known to succeed: nothing is copied aside.
    pub sure: bool,
    /// Pages that may differ from what they were at the last `mark`, beside the hot ones.
    touched: BTreeSet<u32>,
    /// Folds since the last sweep.
    folds: u32,
    /// Pages folded since the last sweep, in order.
    folded: Vec<u32>,
    /// Pages folded by the last commit.
    gone: Vec<u32>,
    faults: i64,
    /// Readers on other threads follow this heap.
    shared: Option<SharedHeap>,
    /// `undo` holds the hot pages as they are.
    ready: bool,
    entries: Vec<u8>,
}

// SAFETY: the pointer is to a mapping that the realm owns alone; nothing in it is tied to a thread.
unsafe impl Send for Heap {}

fn failed(what: &str) -> Fault {
    Fault(format!("{what}: {}", std::io::Error::last_os_error()))
}

/// A new, empty file in memory.
fn memfd() -> Result<File, Fault> {
    // SAFETY: a plain system call; the name is a C string.
    let fd = unsafe { libc::memfd_create(c"glassbox-heap".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(failed("memfd_create"));
    }
    // SAFETY: we own this new descriptor.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Page faults of this thread so far.
fn minor_faults() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` has room for what the call writes; all-zero bytes are a valid rusage if it fails.
    unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init().ru_minflt
    }
}

impl Heap {
    /// Takes over `len` bytes at `base`: their present content becomes the image.
    ///
    /// # Safety
    ///
    /// `base` must be page-aligned, the start of a private mapping of at least `len` readable and writable bytes that stays
    /// valid as long as this heap is used, and nobody else may hold a reference into it during any call of a method.
    pub unsafe fn adopt(base: *mut u8, len: usize) -> Result<Heap, Fault> {
        let mut heap = Heap::over(base, Arc::new(memfd()?));
        heap.extend(len)?;
        Ok(heap)
    }

    fn over(base: *mut u8, image: Arc<File>) -> Heap {
        Heap {
            base,
            len: 0,
            image,
            frozen: false,
            kept: false,
            hot: Vec::new(),
            undo: Vec::new(),
            copied: 0,
            sure: false,
            touched: BTreeSet::new(),
            folds: 0,
            folded: Vec::new(),
            gone: Vec::new(),
            faults: 0,
            shared: None,
            ready: false,
            entries: Vec::new(),
        }
    }

    /// Maps an image that others have too: [`Heap::freeze`].
    ///
    /// # Safety
    ///
    /// As [`Heap::adopt`]; what the memory holds is gone.
    pub unsafe fn adopt_image(base: *mut u8, image: &Image) -> Result<Heap, Fault> {
        let mut heap = Heap::over(base, image.file.clone());
        heap.len = image.len;
        heap.frozen = true;
        heap.map(image.len)?;
        Ok(heap)
    }

    /// Maps an image that others have too, and keeps what is written from then on. Behind the image the heap is the memory's own.
    ///
    /// # Safety
    ///
    /// As [`Heap::adopt`] for `len` bytes, which the image must not exceed; what the memory holds where the image is mapped is gone.
    pub unsafe fn begin_with(base: *mut u8, len: usize, image: &Image) -> Result<Heap, Fault> {
        let mut heap = Heap::over(base, image.file.clone());
        heap.kept = true;
        heap.map(image.len)?;
        heap.len = len;
        Ok(heap)
    }

    /// Whether nothing is ever undone here.
    pub fn keeps(&self) -> bool {
        self.kept
    }

    /// Keeps what was written. `len` is the present size of the memory.
    pub fn keep(&mut self, len: usize) {
        self.len = len;
    }

    /// In a heap that keeps everything: the pages that were ever written, in order.
    pub fn written(&self) -> Result<Vec<u32>, Fault> {
        self.scan(&mut Vec::new())
    }

    /// Gives back pages that are equal to what the image has there.
    pub fn give_back(&mut self, pages: &[u32]) -> Result<(), Fault> {
        for run in pages.chunk_by(|a, b| a + 1 == *b) {
            self.drop_pages(run[0] as usize * PAGE_BYTES, run.len() * PAGE_BYTES)?;
        }
        Ok(())
    }

    /// The heap as it is becomes an image that never changes any more. Every piece of work ends with [`Heap::thaw`].
    pub fn freeze(&mut self) -> Result<Image, Fault> {
        self.sweep()?;
        self.frozen = true;
        self.undo.clear();
        Ok(Image { file: self.image.clone(), len: self.len })
    }

    /// The image of a frozen heap.
    pub fn image(&self) -> Image {
        Image { file: self.image.clone(), len: self.len }
    }

    /// Puts a frozen heap back to its image. The memory must not have grown since.
    pub fn thaw(&mut self) -> Result<(), Fault> {
        if minor_faults() != self.faults {
            let private = self.private_pages()?;
            if private != self.hot {
                let (kept, dropped) = private.split_at(private.len().min(MAX_HOT_PAGES));
                for &index in dropped {
                    self.drop_pages(index as usize * PAGE_BYTES, PAGE_BYTES)?;
                }
                self.undo.resize(kept.len() * PAGE_BYTES, 0);
                for (slot, &index) in self.undo.chunks_exact_mut(PAGE_BYTES).zip(kept) {
                    let read = self.image.read_exact_at(slot, index as u64 * PAGE_BYTES as u64);
                    read.map_err(|e| Fault(format!("heap image: {e}")))?;
                }
                self.hot = kept.to_vec();
            }
        }
        for (saved, &index) in self.undo.chunks_exact(PAGE_BYTES).zip(&self.hot) {
            // SAFETY: a page of our vector and a page of the mapping; they cannot overlap.
            unsafe { std::ptr::copy_nonoverlapping(saved.as_ptr(), self.page(index), PAGE_BYTES) };
        }
        Ok(())
    }

    /// Bytes of the image.
    pub fn len(&self) -> usize {
        self.len
    }

    fn page(&self, index: u32) -> *mut u8 {
        debug_assert!((index as usize) < self.len / PAGE_BYTES);
        // SAFETY: the index is below the length of the mapping.
        unsafe { self.base.add(index as usize * PAGE_BYTES) }
    }

    /// Remembers the heap as it is.
    pub fn begin(&mut self) {
        if self.kept {
            return;
        }
        self.faults = minor_faults();
        if self.frozen || self.sure || std::mem::take(&mut self.ready) {
            return;
        }
        self.copy_aside();
        self.faults = minor_faults();
    }

    fn copy_aside(&mut self) {
        self.undo.resize(self.hot.len() * PAGE_BYTES, 0);
        for (slot, &index) in self.undo.chunks_exact_mut(PAGE_BYTES).zip(&self.hot) {
            // SAFETY: a page of the mapping and a page of our vector; they cannot overlap.
            unsafe { std::ptr::copy_nonoverlapping(self.base.add(index as usize * PAGE_BYTES), slot.as_mut_ptr(), PAGE_BYTES) };
        }
        self.copied += self.hot.len();
    }

    /// From now on others can follow this heap.
    pub fn share(&mut self, shared: SharedHeap) -> Result<(), Fault> {
        shared.lock().restart(&self.image, self.len).map_err(|e| Fault(format!("heap image: {e}")))?;
        self.shared = Some(shared);
        Ok(())
    }

    /// Lets the readers have the heap as it is, with what belongs to it.
    pub fn publish(&mut self, attachment: Attachment) {
        if let Some(shared) = self.shared.clone() {
            self.copy_aside();
            self.ready = true;
            shared.publish(&self.hot, &self.undo, attachment);
        }
    }

    pub fn shared(&self) -> Option<&SharedHeap> {
        self.shared.as_ref()
    }

    /// Others go on following, another heap.
    pub fn take_shared(&mut self) -> Option<SharedHeap> {
        self.shared.take()
    }

    /// From now on `changed` tells of what is written after this.
    pub fn mark(&mut self) {
        self.touched.clear();
    }

    /// Pages that may have changed since `mark`, in order: every one that has is among them.
    pub fn changed(&self) -> Vec<u32> {
        if self.kept {
            return self.written().unwrap_or_else(|_| (0..(self.len / PAGE_BYTES) as u32).collect());
        }
        self.touched.iter().copied().chain(self.hot.iter().copied()).collect::<BTreeSet<u32>>().into_iter().collect()
    }

    /// Counts pages as changed since `mark`.
    pub fn touch(&mut self, pages: &[u32]) {
        self.touched.extend(pages);
    }

    /// Keeps what was written. `len` is the present size of the memory.
    pub fn commit(&mut self, len: usize) -> Result<(), Fault> {
        let Some(shared) = self.shared.clone() else { return self.settle(len) };
        // The image is written and the hot pages change under the lock only.
        let mut state = shared.lock();
        let before = self.hot.clone();
        self.settle(len)?;
        if len != state.len {
            return state.restart(&self.image, len).map_err(|e| Fault(format!("heap image: {e}")));
        }
        state.advance(before.iter().chain(&self.hot).chain(&self.gone));
        Ok(())
    }

    fn settle(&mut self, len: usize) -> Result<(), Fault> {
        self.gone.clear();
        if len > self.len {
            return self.extend(len);
        }
        if minor_faults() != self.faults {
            self.hot = self.private_pages()?;
        }
        if self.hot.len() > MAX_HOT_PAGES {
            self.sweep()?;
        } else if self.copied > COPIES_PER_FOLD * self.hot.len() && !self.hot.is_empty() {
            self.folds += 1;
            if self.folds < FOLDS_PER_SWEEP { self.fold()? } else { self.sweep()? }
        }
        Ok(())
    }

    /// Puts the heap back to what it was at `begin`. The memory must not have grown since.
    pub fn rollback(&mut self) -> Result<(), Fault> {
        let private = self.private_pages()?;
        let mut hot = self.hot.iter().zip(self.undo.chunks_exact(PAGE_BYTES)).peekable();
        for index in private {
            match hot.next_if(|(known, _)| **known == index) {
                // SAFETY: as in `begin`, the other way round.
                Some((_, saved)) => unsafe {
                    std::ptr::copy_nonoverlapping(saved.as_ptr(), self.page(index), PAGE_BYTES);
                },
                None => self.drop_pages(index as usize * PAGE_BYTES, PAGE_BYTES)?,
            }
        }
        debug_assert!(hot.peek().is_none(), "a hot page stays private");
        Ok(())
    }

    /// The bytes of the heap as they were at `begin`.
    pub fn before(&self) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; self.len];
        self.image.read_exact_at(&mut bytes, 0).map_err(|e| Fault(format!("heap image: {e}")))?;
        for (saved, &index) in self.undo.chunks_exact(PAGE_BYTES).zip(&self.hot) {
            bytes[index as usize * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(saved);
        }
        Ok(bytes)
    }

    /// Folds every hot page.
    fn sweep(&mut self) -> Result<(), Fault> {
        self.folds = 0;
        self.folded.clear();
        self.fold()
    }

    /// Writes hot pages into the image, so that a fresh mapping shows the same. Those that came back since an earlier fold
    /// stay hot.
    fn fold(&mut self) -> Result<(), Fault> {
        let (back, gone): (Vec<u32>, Vec<u32>) = self.hot.iter().partition(|index| self.folded.binary_search(index).is_ok());
        for &index in &gone {
            // SAFETY: a page of the mapping, read while nothing runs.
            let page = unsafe { std::slice::from_raw_parts(self.page(index), PAGE_BYTES) };
            self.image.write_all_at(page, index as u64 * PAGE_BYTES as u64).map_err(|e| Fault(format!("heap image: {e}")))?;
        }
        for run in gone.chunk_by(|a, b| a + 1 == *b) {
            self.drop_pages(run[0] as usize * PAGE_BYTES, run.len() * PAGE_BYTES)?;
        }
        self.hot = back;
        self.touched.extend(&gone);
        self.folded.extend(&gone);
        self.folded.sort_unstable();
        self.gone = gone;
        self.copied = 0;
        Ok(())
    }

    /// Makes the image as long as the memory has become, and maps all of it.
    fn extend(&mut self, len: usize) -> Result<(), Fault> {
        let error = |e: std::io::Error| Fault(format!("heap image: {e}"));
        self.image.set_len(len as u64).map_err(error)?;
        for &index in &self.private_pages()? {
            // SAFETY: a page of the mapping, read while nothing runs.
            let page = unsafe { std::slice::from_raw_parts(self.page(index), PAGE_BYTES) };
            self.image.write_all_at(page, index as u64 * PAGE_BYTES as u64).map_err(error)?;
            self.touched.insert(index);
        }
        // SAFETY: the grown part is readable and writable up to `len`; untouched pages of it read as zeros.
        let grown = unsafe { std::slice::from_raw_parts(self.base.add(self.len), len - self.len) };
        for (i, page) in grown.chunks_exact(PAGE_BYTES).enumerate() {
            if page.iter().any(|&byte| byte != 0) {
                self.image.write_all_at(page, (self.len + i * PAGE_BYTES) as u64).map_err(error)?;
                self.touched.insert((self.len / PAGE_BYTES + i) as u32);
            }
        }
        self.len = len;
        self.hot.clear();
        self.copied = 0;
        self.folds = 0;
        self.folded.clear();
        self.map(len)
    }

    /// Maps the first `len` bytes of the image.
    fn map(&mut self, len: usize) -> Result<(), Fault> {
        // SAFETY: replaces the owner's own mapping, at its place and within its length, by one with equal content.
        let mapped = unsafe {
            libc::mmap(
                self.base.cast(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
                self.image.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED { Err(failed("mmap")) } else { Ok(()) }
    }

    fn drop_pages(&self, offset: usize, len: usize) -> Result<(), Fault> {
        // SAFETY: the range lies in our private file mapping; the next access shows the image again.
        if unsafe { libc::madvise(self.base.add(offset).cast(), len, libc::MADV_DONTNEED) } != 0 {
            return Err(failed("madvise"));
        }
        Ok(())
    }

    /// Which pages of the image range are private copies.
    fn private_pages(&mut self) -> Result<Vec<u32>, Fault> {
        let mut entries = std::mem::take(&mut self.entries);
        let pages = self.scan(&mut entries);
        self.entries = entries;
        pages
    }

    /// The same, with a buffer for the kernel's table of the pages.
    fn scan(&self, entries: &mut Vec<u8>) -> Result<Vec<u32>, Fault> {
        const FILE_PAGE: u64 = 1 << 61;
        const SWAPPED: u64 = 1 << 62;
        const PRESENT: u64 = 1 << 63;
        static PAGEMAP: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/self/pagemap").ok());
        let pages = self.len / PAGE_BYTES;
        if let Some(pagemap) = &*PAGEMAP {
            entries.resize(pages * 8, 0);
            if pagemap.read_exact_at(entries, (self.base as usize / PAGE_BYTES * 8) as u64).is_ok() {
                let entries = entries.chunks_exact(8).map(|e| u64::from_le_bytes(e.try_into().expect("8 bytes")));
                let private = |entry: u64| entry & (PRESENT | SWAPPED) != 0 && entry & FILE_PAGE == 0;
                return Ok(entries.enumerate().filter(|(_, entry)| private(*entry)).map(|(i, _)| i as u32).collect());
            }
        }
        // No pagemap here: compare with the image. Slower, and what equals the image needs no undoing.
        let mut differing = Vec::new();
        for index in 0..pages as u32 {
            let mut image_page = [0; PAGE_BYTES];
            match self.image.read_exact_at(&mut image_page, index as u64 * PAGE_BYTES as u64) {
                // A heap that keeps everything may have grown beyond the image.
                Err(error) if self.kept && error.kind() == std::io::ErrorKind::UnexpectedEof => {}
                read => read.map_err(|e| Fault(format!("heap image: {e}")))?,
            }
            // SAFETY: a page of the mapping, read while nothing runs.
            let page = unsafe { std::slice::from_raw_parts(self.page(index), PAGE_BYTES) };
            if page != image_page || self.hot.binary_search(&index).is_ok() {
                differing.push(index);
            }
        }
        Ok(differing)
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.end();
        }
    }
}

/// Memory for the guest, reserved once: it grows in place and never moves.
pub(crate) struct Reservation {
    base: *mut u8,
    size: usize,
    max: usize,
}

// SAFETY: an owned mapping; nothing in it is tied to a thread.
unsafe impl Send for Reservation {}
// SAFETY: shared references only read the fields.
unsafe impl Sync for Reservation {}

use crate::realm::{GUARD_BYTES, RESERVATION_BYTES};

impl Reservation {
    fn new(minimum: usize, max: usize) -> Result<Reservation, String> {
        // SAFETY: a new mapping, nothing replaced.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                RESERVATION_BYTES + GUARD_BYTES,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(format!("cannot reserve the heap: {}", std::io::Error::last_os_error()));
        }
        let mut reservation = Reservation { base: base.cast(), size: 0, max };
        reservation.open_up_to(minimum).map_err(|error| error.to_string())?;
        Ok(reservation)
    }

    fn open_up_to(&mut self, size: usize) -> std::io::Result<()> {
        // SAFETY: within the reservation, behind what is in use.
        let done =
            unsafe { libc::mprotect(self.base.add(self.size).cast(), size - self.size, libc::PROT_READ | libc::PROT_WRITE) };
        if done != 0 {
            return Err(std::io::Error::last_os_error());
        }
        self.size = size;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and the engine has let go of it.
        unsafe { libc::munmap(self.base.cast(), RESERVATION_BYTES + GUARD_BYTES) };
    }
}

// SAFETY: the memory is at least `byte_size` bytes, stays in place, and is followed by inaccessible pages up to the
// reservation and guard that the engine was configured with.
unsafe impl wasmtime::LinearMemory for Reservation {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        RESERVATION_BYTES
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.max {
            return Err(wasmtime::format_err!("the heap's limit"));
        }
        self.open_up_to(new_size)?;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.base
    }
}

/// Hands out reservations of at most `max_bytes`.
pub(crate) struct Reservations {
    pub max_bytes: usize,
}

// SAFETY: each memory is a reservation of its own, as `LinearMemory` above promises.
unsafe impl wasmtime::MemoryCreator for Reservations {
    fn new_memory(
        &self,
        _type: wasmtime::MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        _reserved: Option<usize>,
        _guard: usize,
    ) -> Result<Box<dyn wasmtime::LinearMemory>, String> {
        Ok(Box::new(Reservation::new(minimum, self.max_bytes)?))
    }
}
