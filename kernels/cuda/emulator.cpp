// Runs the blocks of a kernel one after the other, the threads of a block as fibers.

#include "emulator.h"
#include <stdio.h>
#include <sys/mman.h>
#include <mutex>
#include <string>
#include <vector>

extern "C" {
Thread* emulated_thread;
Dim3 emulated_block, emulated_block_size, emulated_grid_size;
}

namespace {

enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };
enum Order { FORWARD, REVERSE, SHUFFLED };  // of threads; REVERSE turns the blocks round, too

constexpr size_t STACK = 64 << 10;
constexpr unsigned MOST_THREADS = 1024;
constexpr size_t MARGIN = 256;  // bytes on either side of shared memory that nobody may write
constexpr unsigned char POISON = 0xff;  // NaN as floats, -1 as integers
constexpr unsigned char UNTOUCHED = 0xa5;

struct Fiber : Thread {
  void* stack_pointer;
  State state;
  int line;  // of the barrier where it waits
};

std::vector<Fiber> fibers;
std::vector<char> shared, slots;
std::vector<unsigned> warp_alive, warp_waiting;  // lanes of each warp, as bits
char* stacks;
void* scheduler;
unsigned alive, waiting;
void (*kernel)(const void*);
const void* parameters;
std::string failure;
uint64_t random_state;
std::mutex one_at_a_time;

Fiber& current() { return *static_cast<Fiber*>(emulated_thread); }

}  // namespace

#if defined(__x86_64__) && !defined(EMULATED_PORTABLY)
// Save what a callee must keep, change the stack, restore: 12 instructions, 40 ns with the cache
// misses, where swapcontext makes two system calls.
extern "C" void switch_stack(void** save, void* to);
asm(R"(
.text
.globl switch_stack
switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace {
void prepare(Fiber& fiber, char* stack, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack + STACK - 64);
  *--top = nullptr;  // where `entry` would return to
  *--top = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; saved++) *--top = nullptr;
  fiber.stack_pointer = top;
}
}  // namespace
#else
#include <ucontext.h>
namespace {
std::vector<ucontext_t> contexts(MOST_THREADS + 1);

void prepare(Fiber& fiber, char* stack, void (*entry)()) {
  ucontext_t& context = contexts[fiber.number];
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = STACK;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
  fiber.stack_pointer = &context;
}

void switch_stack(void** save, void* to) {
  *save = save == &scheduler ? &contexts[MOST_THREADS] : *save;
  swapcontext(static_cast<ucontext_t*>(*save), static_cast<ucontext_t*>(to));
}
}  // namespace
#endif

namespace {

void give_way() { switch_stack(&current().stack_pointer, scheduler); }

void fail(const char* what, int line) {
  if (failure.empty()) {
    char text[256];
    const Dim3 b = emulated_block;
    snprintf(text, sizeof text, "%s, line %d, block (%u, %u, %u), thread %u", what, line, b.x, b.y,
             b.z, emulated_thread->number);
    failure = text;
  }
  current().state = DONE;
  for (;;) give_way();
}

void run_thread() {
  kernel(parameters);
  Fiber& fiber = current();
  fiber.state = DONE;
  alive--;
  warp_alive[fiber.warp] &= ~(1u << fiber.lane);
  for (;;) give_way();
}

unsigned random_below(unsigned n) {  // xorshift
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state % n;
}

std::vector<unsigned> threads_in(Order order, unsigned count) {
  std::vector<unsigned> found(count);
  for (unsigned t = 0; t < count; t++) found[t] = order == REVERSE ? count - 1 - t : t;
  if (order == SHUFFLED)
    for (unsigned t = count; t > 1; t--) std::swap(found[t - 1], found[random_below(t)]);
  return found;
}

void start_block(unsigned count) {
  const Dim3 size = emulated_block_size;
  memset(shared.data(), UNTOUCHED, shared.size());
  memset(shared.data() + MARGIN, POISON, shared.size() - 2 * MARGIN);
  alive = count;
  waiting = 0;
  warp_alive.assign((count + 31) / 32, 0);
  warp_waiting.assign((count + 31) / 32, 0);
  for (unsigned t = 0; t < count; t++) {
    Fiber& fiber = fibers[t];
    fiber.index = {t % size.x, t / size.x % size.y, t / size.x / size.y};
    fiber.number = t;
    fiber.warp = t / 32;
    fiber.lane = t % 32;
    fiber.shuffles = 0;
    fiber.state = READY;
    warp_alive[t / 32] |= 1u << t % 32;
  }
}

void run_block(const std::vector<unsigned>& order) {
  for (unsigned t : order) prepare(fibers[t], stacks + t * STACK, run_thread);
  for (;;) {
    bool ran = false;
    for (unsigned t : order) {
      if (fibers[t].state != READY) continue;
      ran = true;
      emulated_thread = &fibers[t];
      switch_stack(&scheduler, fibers[t].stack_pointer);
      if (!failure.empty()) return;
    }
    if (ran) continue;
    for (Fiber& fiber : fibers) {
      if (fiber.state == DONE) continue;
      char text[256];
      snprintf(text, sizeof text, "deadlock: block %u, thread %u waits for others, line %d",
               emulated_block.x, fiber.number, fiber.line);
      failure = text;
      return;
    }
    return;
  }
}

bool margins_are_untouched() {
  for (size_t i = 0; i < MARGIN; i++) {
    const char low = shared[i], high = shared[shared.size() - 1 - i];
    if (low != (char)UNTOUCHED || high != (char)UNTOUCHED) return false;
  }
  return true;
}

}  // namespace

extern "C" {

char* emulated_shared_memory() { return shared.data() + MARGIN; }

char* emulated_warp_slots(unsigned turn) {
  return &slots[(emulated_thread->warp * 2 + turn % 2) * 32 * SLOT];
}

void emulated_block_barrier(int line) {
  Fiber& fiber = current();
  fiber.line = line;
  if (alive < fibers.size()) fail("a barrier after some threads have ended", line);
  for (Fiber& other : fibers)
    if (other.state == AT_BLOCK_BARRIER && other.line != line) fail("a divergent barrier", line);
  fiber.state = AT_BLOCK_BARRIER;
  if (++waiting == alive) {
    waiting = 0;
    for (Fiber& other : fibers) other.state = READY;
  } else {
    give_way();
  }
}

void emulated_warp_barrier(int line) {
  Fiber& fiber = current();
  const unsigned first = fiber.warp * 32;
  fiber.line = line;
  if (warp_alive[fiber.warp] != 0xffffffffu) fail("a shuffle without all lanes", line);
  for (unsigned lane = 0; lane < 32; lane++)
    if (warp_waiting[fiber.warp] >> lane & 1 && fibers[first + lane].line != line)
      fail("a divergent shuffle", line);
  fiber.state = AT_WARP_BARRIER;
  warp_waiting[fiber.warp] |= 1u << fiber.lane;
  if (warp_waiting[fiber.warp] == 0xffffffffu) {
    warp_waiting[fiber.warp] = 0;
    for (unsigned lane = 0; lane < 32; lane++) fibers[first + lane].state = READY;
  } else {
    give_way();
  }
}

// Run a kernel. `cooperative` ones have barriers or shuffles; the threads of others are a plain
// loop. Returns null, or what went wrong.
const char* emulated_launch(void (*body)(const void*), const void* given, const unsigned* grid,
                            const unsigned* block, size_t shared_bytes, int cooperative, int order,
                            uint64_t seed) {
  const std::lock_guard<std::mutex> alone(one_at_a_time);
  const uint64_t count = (uint64_t)block[0] * block[1] * block[2];
  const uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
  failure.clear();
  if (count == 0 || blocks == 0) return "a launch without threads";
  if (count > MOST_THREADS) return "a launch of too many threads";
  if (!stacks)
    stacks = static_cast<char*>(mmap(nullptr, MOST_THREADS * STACK, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  emulated_grid_size = {grid[0], grid[1], grid[2]};
  emulated_block_size = {block[0], block[1], block[2]};
  kernel = body;
  parameters = given;
  random_state = seed * 2654435761u + 88172645463325252ull;
  fibers.resize(count);
  slots.resize((count + 31) / 32 * 2 * 32 * SLOT);
  shared.resize(shared_bytes + 2 * MARGIN);
  for (uint64_t turn = 0; turn < blocks; turn++) {
    const uint64_t b = order == REVERSE ? blocks - 1 - turn : turn;
    emulated_block = {(unsigned)(b % grid[0]), (unsigned)(b / grid[0] % grid[1]),
                      (unsigned)(b / grid[0] / grid[1])};
    start_block(count);
    const std::vector<unsigned> threads = threads_in((Order)order, count);
    if (cooperative) {
      run_block(threads);
    } else {
      for (unsigned t : threads) {
        emulated_thread = &fibers[t];
        kernel(parameters);
      }
    }
    if (failure.empty() && !margins_are_untouched()) failure = "a write beyond the shared memory";
    if (!failure.empty()) return failure.c_str();
  }
  return nullptr;
}
}
