; The thread pool: the caller of @parallel and idle threads claim the chunks of one job, each as it gets to
; it. Nobody is assigned a share, and nobody waits for a thread that has not begun: where another process
; has the other cores, the caller does everything itself. What it needs of the system (@pause, @futex,
; pthreads) comes from system_linux.ll or system_none.ll.
;
; A claim is one compare-and-exchange of the ticket: the chunks left in its low half, the worker numbers
; left in its high half. The word alone says whether there is something to claim, and a job is read only
; after a claim, which keeps it from ending. So a thread that comes late finds nothing, or becomes a worker
; of the job that there is by then; an equal ticket of another job does no harm.
;
; Each group of words below has a cache line of its own: the ticket moves from core to core with every
; claim, while the job moves once.

@pool.ticket = internal global i64 0, align 64      ; worker numbers left, chunks left

@pool.bell = internal global i32 0, align 64        ; grows with every job; idle threads watch it, or sleep on it
@pool.stopping = internal global i32 0
@pool.task = internal global ptr null               ; the job
@pool.context = internal global ptr null
@pool.count = internal global i64 0
@pool.grain = internal global i64 0
@pool.chunks = internal global i64 0

@pool.left = internal global i32 0, align 64        ; workers that have left the job; the top bit: its caller sleeps

@pool.busy = internal global i32 0, align 64        ; whether somebody has the pool
@pool.sleepers = internal global i32 0              ; threads that sleep, or are about to
@pool.threads = internal global i64 0               ; threads that there are
@threads.limit = global i64 1                       ; the most workers of a job, its caller among them: Python sets it
@pool.handles = internal global [256 x i64] zeroinitializer

; All signals but those of faults (7 bus, 8 arithmetic, 4 illegal, 11 segment), which belong to the thread
; that made them: a handler of the process runs in none of these threads.
@pool.signals = internal constant [16 x i64] [i64 -1225, i64 0, i64 0, i64 0, i64 0, i64 0, i64 0, i64 0,
                                              i64 0, i64 0, i64 0, i64 0, i64 0, i64 0, i64 0, i64 0]

declare i64 @llvm.umin.i64(i64, i64)

; Call task(context, begin, end, worker) for the chunks [begin, end) of %grain indices of [0, %count), and
; return when all are done. Workers are numbered from 0, the caller, and are fewer than %workers and the
; limit; each runs one chunk at a time. In order, by worker 0, if that leaves one, if there is one chunk or
; more than 2**32, or if the pool is in use, as it is inside a task.
define internal void @parallel(ptr %task, ptr %context, i64 %count, i64 %grain, i64 %workers) #0 {
entry:
  %up = sub i64 %grain, 1
  %padded = add i64 %count, %up
  %chunks = udiv i64 %padded, %grain
  %limit = load i64, ptr @threads.limit
  %allowed = call i64 @llvm.umin.i64(i64 %workers, i64 %limit)
  %useful = call i64 @llvm.umin.i64(i64 %allowed, i64 %chunks)
  %others = sub i64 %useful, 1
  %alone = icmp slt i64 %others, 1
  %many = icmp ugt i64 %chunks, 4294967295
  %simple = or i1 %alone, %many
  br i1 %simple, label %loop, label %take

take:
  %was = atomicrmw xchg ptr @pool.busy, i32 1 acquire
  %taken = icmp ne i32 %was, 0
  br i1 %taken, label %loop, label %share

share:
  store ptr %task, ptr @pool.task
  store ptr %context, ptr @pool.context
  store i64 %count, ptr @pool.count
  store i64 %grain, ptr @pool.grain
  store i64 %chunks, ptr @pool.chunks
  call void @pool.share(i64 %chunks, i64 %others)
  store atomic i32 0, ptr @pool.busy release, align 4
  ret void

loop:
  %begin = phi i64 [ 0, %entry ], [ 0, %take ], [ %next, %one ]
  %more = icmp ult i64 %begin, %count
  br i1 %more, label %one, label %done

one:
  %next = add i64 %begin, %grain
  %end = call i64 @llvm.umin.i64(i64 %next, i64 %count)
  call void %task(ptr %context, i64 %begin, i64 %end, i64 0)
  br label %loop

done:
  ret void
}

; Run the job that is written down, with up to %others threads.
define internal void @pool.share(i64 %chunks, i64 %others) #0 {
entry:
  call void @pool.grow(i64 %others)
  store atomic i32 0, ptr @pool.left monotonic, align 4
  %numbers = shl i64 %others, 32
  %ticket = or i64 %numbers, %chunks
  store atomic i64 %ticket, ptr @pool.ticket release, align 8
  call void @scatter()
  call void @pool.ring(i64 %others)
  call void @pool.chunks.left(i64 0)
  ; The last chunk is claimed, so no thread joins any more: who joined has a number.
  %last = load atomic i64, ptr @pool.ticket monotonic, align 8
  %unused = lshr i64 %last, 32
  %joined = sub i64 %others, %unused
  %joined.32 = trunc i64 %joined to i32
  call void @pool.wait(i32 %joined.32)
  ret void
}

; Tell the threads that there is a job. Waking one is a system call of 1 us, 8 in a virtual machine: none
; for those that are awake already.
define internal void @pool.ring(i64 %useful) #0 {
entry:
  %bell = atomicrmw add ptr @pool.bell, i32 1 seq_cst
  %sleepers = load atomic i32, ptr @pool.sleepers seq_cst, align 4
  %asleep = zext i32 %sleepers to i64
  %threads = load i64, ptr @pool.threads
  %awake = sub i64 %threads, %asleep
  %missing = sub i64 %useful, %awake
  %some = icmp ne i32 %sleepers, 0
  %wanted = icmp sgt i64 %missing, 0
  %wake = and i1 %some, %wanted
  br i1 %wake, label %call.them, label %done

call.them:
  call void @futex(ptr @pool.bell, i64 129, i64 %missing)      ; FUTEX_WAKE, private
  br label %done

done:
  ret void
}

; Wait until %joined workers have left. They are in their last chunks, so most often that is soon; a worker
; that lost its core to another process may need this one to go on.
define internal void @pool.wait(i32 %joined) #0 {
entry:
  br label %look

look:
  %left = load atomic i32, ptr @pool.left acquire, align 4
  %all = icmp eq i32 %left, %joined
  br i1 %all, label %done, label %watch

watch:
  %another = call i1 @pool.watch(ptr @pool.left, i32 %left, i32 $patience)
  br i1 %another, label %look, label %announce

announce:
  %before = atomicrmw or ptr @pool.left, i32 -2147483648 acq_rel
  br label %look.again

look.again:
  %now = load atomic i32, ptr @pool.left acquire, align 4
  %count = and i32 %now, 2147483647
  %gone = icmp eq i32 %count, %joined
  br i1 %gone, label %done, label %sleep

sleep:
  %now.64 = zext i32 %now to i64
  call void @futex(ptr @pool.left, i64 128, i64 %now.64)       ; FUTEX_WAIT, private
  br label %look.again

done:
  ret void
}

; Watch a word for so many pauses: whether it is no longer as it was seen.
define internal i1 @pool.watch(ptr %word, i32 %seen, i32 %pauses) #0 {
entry:
  br label %look

look:
  %i = phi i32 [ 0, %entry ], [ %next, %wait ]
  %now = load atomic i32, ptr %word monotonic, align 4
  %changed = icmp ne i32 %now, %seen
  %over = icmp eq i32 %i, %pauses
  %stop = or i1 %changed, %over
  br i1 %stop, label %done, label %wait

wait:
  call void @pause()
  %next = add i32 %i, 1
  br label %look

done:
  ret i1 %changed
}

; ---- chunks

; Claim a chunk: take %step off the ticket, unless it has no chunk left, or no worker number if the step
; takes one. The ticket as it was, or 0.
define internal i64 @pool.claim(i64 %step) #0 {
entry:
  br label %loop

loop:
  %ticket = load atomic i64, ptr @pool.ticket monotonic, align 8
  %chunks = and i64 %ticket, 4294967295
  %none = icmp eq i64 %chunks, 0
  %short = icmp ult i64 %ticket, %step
  %refused = or i1 %none, %short
  br i1 %refused, label %no, label %try

try:
  %rest = sub i64 %ticket, %step
  %exchange = cmpxchg ptr @pool.ticket, i64 %ticket, i64 %rest acquire monotonic
  %ok = extractvalue { i64, i1 } %exchange, 1
  br i1 %ok, label %yes, label %loop

yes:
  ret i64 %ticket

no:
  ret i64 0
}

; Run the chunk that a ticket stands for: the last has 1 in its low half.
define internal void @pool.run(i64 %ticket, i64 %worker) #0 {
  %left = and i64 %ticket, 4294967295
  %chunks = load i64, ptr @pool.chunks
  %number = sub i64 %chunks, %left
  %grain = load i64, ptr @pool.grain
  %count = load i64, ptr @pool.count
  %begin = mul i64 %number, %grain
  %next = add i64 %begin, %grain
  %end = call i64 @llvm.umin.i64(i64 %next, i64 %count)
  %task = load ptr, ptr @pool.task
  %context = load ptr, ptr @pool.context
  call void %task(ptr %context, i64 %begin, i64 %end, i64 %worker)
  ret void
}

; Run chunks until none is left.
define internal void @pool.chunks.left(i64 %worker) #0 {
entry:
  br label %loop

loop:
  %ticket = call i64 @pool.claim(i64 1)
  %none = icmp eq i64 %ticket, 0
  br i1 %none, label %done, label %one

one:
  call void @pool.run(i64 %ticket, i64 %worker)
  br label %loop

done:
  ret void
}

; ---- threads

; Take part in the job, if there is one that wants another worker.
define internal void @pool.join() #0 {
entry:
  %ticket = call i64 @pool.claim(i64 4294967297)      ; a number and a chunk
  %none = icmp eq i64 %ticket, 0
  br i1 %none, label %done, label %work

work:
  %worker = lshr i64 %ticket, 32
  call void @pool.run(i64 %ticket, i64 %worker)
  call void @pool.chunks.left(i64 %worker)
  %left = atomicrmw add ptr @pool.left, i32 1 acq_rel
  %asleep = icmp slt i32 %left, 0
  br i1 %asleep, label %wake, label %done

wake:
  call void @futex(ptr @pool.left, i64 129, i64 1)
  br label %done

done:
  ret void
}

; What a thread does until the pool stops: join, watch the bell for a while, sleep.
define internal ptr @pool.thread(ptr %nothing) #0 {
entry:
  br label %look

look:
  ; The bell first: a job that comes after this look is not slept through.
  %bell = load atomic i32, ptr @pool.bell acquire, align 4
  %stopping = load atomic i32, ptr @pool.stopping monotonic, align 4
  %stop = icmp ne i32 %stopping, 0
  br i1 %stop, label %end, label %join

join:
  call void @pool.join()
  br label %round

round:
  ; Anybody who waits for this core goes first: it may be the job's caller.
  %i = phi i32 [ 0, %join ], [ %i.next, %quiet ]
  call void @yield()
  %rang = call i1 @pool.watch(ptr @pool.bell, i32 %bell, i32 $spins)
  br i1 %rang, label %look, label %quiet

quiet:
  %i.next = add i32 %i, 1
  %patient = icmp ult i32 %i.next, $rounds
  br i1 %patient, label %round, label %sleep

sleep:
  ; Counted first: who rings after this sees a sleeper, who rang before keeps the futex from sleeping.
  %more = atomicrmw add ptr @pool.sleepers, i32 1 seq_cst
  %bell.64 = zext i32 %bell to i64
  call void @futex(ptr @pool.bell, i64 128, i64 %bell.64)
  %fewer = atomicrmw sub ptr @pool.sleepers, i32 1 seq_cst
  br label %look

end:
  ret ptr null
}

; Make threads until there are %wanted. If the system refuses one, the limit is what there is.
define internal void @pool.grow(i64 %wanted) #0 {
entry:
  %first = load i64, ptr @pool.threads
  %enough = icmp uge i64 %first, %wanted
  br i1 %enough, label %done, label %make

make:
  call void @scatter.afresh()
  %mask = alloca [16 x i64]
  %masked = call i32 @pthread_sigmask(i32 2, ptr @pool.signals, ptr %mask)      ; SIG_SETMASK; threads inherit it
  br label %loop

loop:
  %threads = phi i64 [ %first, %make ], [ %next, %made ]
  %more = icmp ult i64 %threads, %wanted
  br i1 %more, label %one, label %restore

one:
  %handle = getelementptr i64, ptr @pool.handles, i64 %threads
  %refused = call i32 @pthread_create(ptr %handle, ptr null, ptr @pool.thread, ptr null)
  %next = add i64 %threads, 1
  %ok = icmp eq i32 %refused, 0
  br i1 %ok, label %made, label %fewer

made:
  store i64 %next, ptr @pool.threads
  br label %loop

fewer:
  store i64 %next, ptr @threads.limit
  br label %restore

restore:
  %unmasked = call i32 @pthread_sigmask(i32 2, ptr %mask, ptr null)
  br label %done

done:
  ret void
}

; End all threads; the next job makes them again. Does nothing while the pool is in use.
define void @threads.stop() #0 {
entry:
  %was = atomicrmw xchg ptr @pool.busy, i32 1 acquire
  %taken = icmp ne i32 %was, 0
  br i1 %taken, label %done, label %stop

stop:
  store atomic i32 1, ptr @pool.stopping monotonic, align 4
  call void @pool.ring(i64 2147483647)
  br label %loop

loop:
  %threads = load i64, ptr @pool.threads
  %none = icmp eq i64 %threads, 0
  br i1 %none, label %stopped, label %one

one:
  %rest = sub i64 %threads, 1
  %handle.at = getelementptr i64, ptr @pool.handles, i64 %rest
  %handle = load i64, ptr %handle.at
  %joined = call i32 @pthread_join(i64 %handle, ptr null)
  store i64 %rest, ptr @pool.threads
  br label %loop

stopped:
  store atomic i32 0, ptr @pool.stopping monotonic, align 4
  store atomic i32 0, ptr @pool.busy release, align 4
  br label %done

done:
  ret void
}

; After a fork, in the child: no thread of the pool came along, nor the thread whose job may be under way.
define void @threads.forget() #0 {
  store i64 0, ptr @pool.threads
  store i32 0, ptr @pool.sleepers
  store i32 0, ptr @pool.stopping
  store i64 0, ptr @pool.ticket
  store i32 0, ptr @pool.busy
  ret void
}
