; What threads.ll needs of Linux. $pause calls the intrinsic that tells the core that this is a spin loop,
; $futex is the number of the system call.

declare i64 @syscall(i64, ...)
declare i32 @sched_yield()
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)

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
