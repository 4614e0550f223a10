; What threads.ll needs of Linux. $pause calls the intrinsic that tells the core that this is a spin loop,
; $futex is the number of the system call.

declare i64 @syscall(i64, ...)
declare i32 @sched_yield()
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @pthread_setaffinity_np(i64, i64, ptr)
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_getcpu()

define internal void @pause() #0 {
  call void @$pause      ; an intrinsic needs no declaration
  ret void
}

define internal void @yield() #0 {
  %result = call i32 @sched_yield()
  ret void
}

; Wait while the 32 bits at %word are %value, or wake %value threads that wait there.
define internal void @futex(ptr %word, i64 %operation, i64 %value) #0 {
  %result = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i64 %operation, i64 %value, ptr null, ptr null, i64 0)
  ret void
}

@scatter.cpus = internal global [16 x i64] zeroinitializer      ; those that threads may run on, a bit each
@scatter.away = internal global i32 -1                          ; the one that they keep off, the caller's

define internal void @scatter.afresh() #0 {
  %found = call i32 @sched_getaffinity(i32 0, i64 128, ptr @scatter.cpus)
  store i32 -1, ptr @scatter.away
  ret void
}

; Keep a few threads off the caller's core. Linux likes to wake a thread where it is woken from, and on a
; machine of two cores it stays there, behind its caller, for up to 100 ms, while the other core idles. Costs
; a system call a thread when the caller has moved, 5 ns otherwise. Many cores need no help: one is idle.
define internal void @scatter() #0 {
entry:
  %cpu = call i32 @sched_getcpu()
  %away = load i32, ptr @scatter.away
  %same = icmp eq i32 %cpu, %away
  %threads = load i64, ptr @pool.threads
  %many = icmp ugt i64 %threads, 7
  %unknown = icmp ugt i32 %cpu, 1023
  %leave.0 = or i1 %same, %many
  %leave = or i1 %leave.0, %unknown
  br i1 %leave, label %done, label %move

move:
  store i32 %cpu, ptr @scatter.away
  %number = zext i32 %cpu to i64
  %word = lshr i64 %number, 6
  %place = and i64 %number, 63
  %bit = shl i64 1, %place
  %its.word = getelementptr i64, ptr @scatter.cpus, i64 %word
  %all = load i64, ptr %its.word
  %off = xor i64 %bit, -1
  %others = and i64 %all, %off
  store i64 %others, ptr %its.word
  br label %one

one:
  %i = phi i64 [ 0, %move ], [ %next, %one ]
  %handle.at = getelementptr i64, ptr @pool.handles, i64 %i
  %handle = load i64, ptr %handle.at
  %refused = call i32 @pthread_setaffinity_np(i64 %handle, i64 128, ptr @scatter.cpus)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %threads
  br i1 %more, label %one, label %restore

restore:
  store i64 %all, ptr %its.word
  br label %done

done:
  ret void
}
