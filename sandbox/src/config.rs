// The settings that the compiled guest and the engine that runs it must share. Included by the build script too.

/// Address space reserved for one heap: what a 32-bit memory can address, so that no access needs a bounds check.
pub const RESERVATION_BYTES: usize = 4 << 30;

/// Inaccessible pages behind it, for the constant offsets of loads and stores.
pub const GUARD_BYTES: usize = 32 << 20;

/// Native stack that the guest's frames may use. Its own limit, on the stack inside the memory, comes first.
pub const WASM_STACK_BYTES: usize = 24 << 20;

fn engine_config() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.memory_init_cow(false);
    config.memory_reservation(RESERVATION_BYTES as u64);
    config.memory_guard_size(GUARD_BYTES as u64);
    config.memory_may_move(false);
    config.async_stack_size(WASM_STACK_BYTES);
    config.max_wasm_stack(WASM_STACK_BYTES);
    config.consume_fuel(true);
    config.wasm_relaxed_simd(false);
    config.wasm_backtrace_max_frames(None);
    config
}
