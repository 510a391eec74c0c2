//! Reads over the overlay's parts and the store: the newest source that knows a key decides.

use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

use fjall::Slice;

use super::overlay::{Active, Layer, Slot};
use super::store::View;
use super::{Entry, StateError};

/// Between two composite keys.
pub(super) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Writes the composite key of `(map, key)` into `out`: length of the map's name, name, key.
pub(super) fn composite_key(out: &mut Vec<u8>, map: &str, key: &[u8]) {
    out.clear();
    out.push(u8::try_from(map.len()).expect("map names are checked at the door"));
    out.extend_from_slice(map.as_bytes());
    out.extend_from_slice(key);
}

/// The bounds of a range of keys of one map, as composite keys; `None` if nothing can lie between them.
pub(super) fn bounds_in_map(map: &str, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Option<Bounds> {
    let composite = |key: &[u8]| {
        let mut out = Vec::with_capacity(1 + map.len() + key.len());
        composite_key(&mut out, map, key);
        out
    };
    let lower = match from {
        Bound::Included(key) => Bound::Included(composite(key)),
        Bound::Excluded(key) => Bound::Excluded(composite(key)),
        Bound::Unbounded => Bound::Included(composite(b"")),
    };
    let upper = match to {
        Bound::Included(key) => Bound::Included(composite(key)),
        Bound::Excluded(key) => Bound::Excluded(composite(key)),
        Bound::Unbounded => {
            // The first string that no key of the map is a part of: UTF-8 has no byte 0xff, so the last one can grow.
            let mut end = composite(b"");
            *end.last_mut().expect("the length byte is there") += 1;
            Bound::Excluded(end)
        }
    };
    let some = match (&lower, &upper) {
        (Bound::Included(low), Bound::Included(high)) => low <= high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low < high,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
    };
    some.then_some((lower, upper))
}

/// A key of a map. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    composite: Slice,
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let name_bytes = usize::from(self.composite[0]);
        &self.composite[1 + name_bytes..]
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// Everything that knows keys, newest first: `active`, `layers` from the last to the first, `view`.
pub(super) struct Reader<'a> {
    pub(super) active: Option<&'a Active>,
    pub(super) layers: &'a [Arc<Layer>],
    pub(super) view: Option<&'a View>,
}

impl<'a> Reader<'a> {
    pub(super) fn get(&self, map: &str, key: &[u8]) -> Result<Option<Entry>, StateError> {
        let mut composite = Vec::with_capacity(1 + map.len() + key.len());
        composite_key(&mut composite, map, key);
        let in_active = self.active.and_then(|active| active.get(composite.as_slice()));
        let in_overlay = in_active.or_else(|| self.layers.iter().rev().find_map(|layer| layer.get(&composite)));
        match (in_overlay, self.view) {
            (Some(slot), _) => Ok(slot.clone().map(|stored| Entry { stored })),
            (None, Some(view)) => view.get(&composite)?.map(Entry::from_stored).transpose(),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn range(&self, bounds: Option<Bounds>) -> Range<'a> {
        Range { merge: self.merge(bounds, View::entries) }
    }

    pub(super) fn keys(&self, bounds: Option<Bounds>) -> Keys<'a> {
        Keys { merge: self.merge(bounds, View::keys) }
    }

    fn merge<I>(&self, bounds: Option<Bounds>, read: fn(&View, Bounds) -> I) -> Merge<'a>
    where
        I: DoubleEndedIterator<Item = Result<Found, StateError>> + Send + 'static,
    {
        let Some(bounds) = bounds else {
            return Merge { sources: Vec::new() };
        };
        let mut sources = Vec::with_capacity(2 + self.layers.len());
        if let Some(active) = self.active {
            let found = active.range::<[u8], _>(borrowed(&bounds)).map(clone_found);
            sources.push(Source::new(found));
        }
        for layer in self.layers.iter().rev() {
            sources.push(Source::new(between(layer.slots(), &bounds).iter().map(|(key, slot)| clone_found((key, slot)))));
        }
        if let Some(view) = self.view {
            sources.push(Source::new(read(view, bounds)));
        }
        Merge { sources }
    }
}

fn borrowed(bounds: &Bounds) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice))
}

fn clone_found((key, slot): (&Slice, &Slot)) -> Result<Found, StateError> {
    Ok((key.clone(), slot.clone()))
}

/// The part of sorted `slots` between two keys.
fn between<'a>(slots: &'a [(Slice, Slot)], bounds: &Bounds) -> &'a [(Slice, Slot)] {
    let (lower, upper) = borrowed(bounds);
    let start = slots.partition_point(|(key, _)| !(lower, Bound::Unbounded).contains(&**key));
    let end = slots.partition_point(|(key, _)| (Bound::Unbounded, upper).contains(&**key));
    &slots[start..end.max(start)]
}

/// A composite key and what a source knows of it.
pub(super) type Found = (Slice, Slot);

/// One source, sorted, with what has been looked at but not taken at either end.
struct Source<'a> {
    rest: Box<dyn DoubleEndedIterator<Item = Result<Found, StateError>> + Send + 'a>,
    front: Option<Found>,
    back: Option<Found>,
}

impl<'a> Source<'a> {
    fn new(rest: impl DoubleEndedIterator<Item = Result<Found, StateError>> + Send + 'a) -> Self {
        Self { rest: Box::new(rest), front: None, back: None }
    }

    /// The key next to be taken at an end. When only one entry is left, both ends see it.
    fn peek(&mut self, end: End) -> Result<Option<&[u8]>, StateError> {
        let seen = match end {
            End::Front => {
                if self.front.is_none() {
                    self.front = self.rest.next().transpose()?.or_else(|| self.back.take());
                }
                &self.front
            }
            End::Back => {
                if self.back.is_none() {
                    self.back = self.rest.next_back().transpose()?.or_else(|| self.front.take());
                }
                &self.back
            }
        };
        Ok(seen.as_ref().map(|(key, _)| &**key))
    }

    fn take(&mut self, end: End) -> Option<Found> {
        match end {
            End::Front => self.front.take(),
            End::Back => self.back.take(),
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

/// Sources merged into one, newest first among equals.
struct Merge<'a> {
    sources: Vec<Source<'a>>,
}

impl Merge<'_> {
    /// The next key that is not removed, at one end. After an error there is nothing more.
    fn advance(&mut self, end: End) -> Option<Result<(Slice, Slice), StateError>> {
        loop {
            match self.take_one(end) {
                Ok(Some((key, Some(stored)))) => return Some(Ok((key, stored))),
                Ok(Some((_, None))) => {}
                Ok(None) => return None,
                Err(error) => {
                    self.sources.clear();
                    return Some(Err(error));
                }
            }
        }
    }

    fn take_one(&mut self, end: End) -> Result<Option<Found>, StateError> {
        let mut best: Option<(usize, &[u8])> = None;
        let mut tied = false;
        for (at, source) in self.sources.iter_mut().enumerate() {
            let Some(key) = source.peek(end)? else {
                continue;
            };
            let order = best.map(|(_, best)| match end {
                End::Front => key.cmp(best),
                End::Back => best.cmp(key),
            });
            match order {
                None | Some(std::cmp::Ordering::Less) => {
                    best = Some((at, key));
                    tied = false;
                }
                Some(std::cmp::Ordering::Equal) => tied = true,
                Some(std::cmp::Ordering::Greater) => {}
            }
        }
        let Some((at, _)) = best else { return Ok(None) };
        let taken = self.sources[at].take(end);
        if let (true, Some((key, _))) = (tied, &taken) {
            for older in &mut self.sources[at + 1..] {
                if older.peek(end)?.is_some_and(|other| other == &**key) {
                    older.take(end);
                }
            }
        }
        Ok(taken)
    }
}

/// Entries of a map in the order of their keys, from either end.
pub struct Range<'a> {
    merge: Merge<'a>,
}

impl Range<'_> {
    fn item(found: Result<(Slice, Slice), StateError>) -> Result<(Key, Entry), StateError> {
        let (composite, stored) = found?;
        Ok((Key { composite }, Entry::from_stored(stored)?))
    }
}

impl Iterator for Range<'_> {
    type Item = Result<(Key, Entry), StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.merge.advance(End::Front).map(Self::item)
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.merge.advance(End::Back).map(Self::item)
    }
}

/// Keys of a map in order, from either end.
pub struct Keys<'a> {
    merge: Merge<'a>,
}

impl Iterator for Keys<'_> {
    type Item = Result<Key, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.merge.advance(End::Front)?.map(|(composite, _)| Key { composite }))
    }
}

impl DoubleEndedIterator for Keys<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(self.merge.advance(End::Back)?.map(|(composite, _)| Key { composite }))
    }
}
