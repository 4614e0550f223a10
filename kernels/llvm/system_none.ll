; What threads.ll needs of a system, where it knows none: there are no threads to be had, so the limit stays
; at one worker, and no job gets as far as waiting for another.

define internal void @pause() #0 {
  ret void
}

define internal void @yield() #0 {
  ret void
}

define internal void @futex(ptr %word, i64 %operation, i64 %value) #0 {
  ret void
}

define internal i32 @pthread_create(ptr %handle, ptr %attributes, ptr %start, ptr %argument) #0 {
  ret i32 11      ; EAGAIN
}

define internal i32 @pthread_join(i64 %handle, ptr %result) #0 {
  ret i32 0
}

define internal void @scatter() #0 {
  ret void
}

define internal void @scatter.afresh() #0 {
  ret void
}

define internal i32 @pthread_sigmask(i32 %how, ptr %new, ptr %old) #0 {
  ret i32 0
}
