; Memory of large outputs. The system clears each page that a program touches for the first time: for an
; array of 40 MB that takes longer than most kernels do. So an array's memory is kept when the array goes,
; and given to the next one of its size. All of this runs with the GIL held, array destruction included.
;
; An array is made around a block; its base is a capsule whose destructor gives the block back.

; Bytes from which on outputs are blocks. Malloc may give the end of its heap back at each call: to make and
; fill eight arrays of 256 KiB then takes 0.78 ms, 0.04 where it keeps them. Below, faults are few.
@blocks.least = internal constant i64 262144
; From here on huge pages, if the system has them: the first touch costs a fault for each 2 MiB then, not 4 KiB.
@blocks.huge = internal constant i64 4194304
; The most bytes kept: blocks.py says how many.
@blocks.most = internal global i64 0

%Block = type { ptr, i64 }                                       ; address, bytes
@blocks.free = internal global [64 x %Block] zeroinitializer     ; the longest unused first
@blocks.number = internal global i64 0
@blocks.bytes = internal global i64 0                            ; in all free blocks
@blocks.name = internal constant [14 x i8] c"fusejit.block\00"

declare i32 @posix_memalign(ptr, i64, i64)
declare void @free(ptr)
declare i32 @madvise(ptr, i64, i32)
declare i64 @llvm.ctlz.i64(i64, i1)
declare ptr @PyCapsule_New(ptr, ptr, ptr)
declare ptr @PyCapsule_GetPointer(ptr, ptr)
declare i32 @PyCapsule_IsValid(ptr, ptr)
declare ptr @PyCapsule_GetContext(ptr)
declare i32 @PyCapsule_SetContext(ptr, ptr)

; A fresh ndarray for %spec. Null with a Python exception set if there is no memory.
define internal ptr @output.new(ptr %spec) #0 {
entry:
  %bytes.at = getelementptr %Array, ptr %spec, i32 0, i32 4
  %bytes = load i64, ptr %bytes.at
  %least = load i64, ptr @blocks.least
  %large = icmp uge i64 %bytes, %least
  br i1 %large, label %find, label %plain

find:
  %size = call i64 @blocks.round(i64 %bytes)
  %block = call ptr @blocks.get(i64 %size)
  %none = icmp eq ptr %block, null
  br i1 %none, label %plain, label %wrap

wrap:
  %array = call ptr @array.new(ptr %spec, ptr %block, i32 1281)   ; C_CONTIGUOUS | ALIGNED | WRITEABLE
  %no.array = icmp eq ptr %array, null
  br i1 %no.array, label %drop.block, label %own

own:
  %capsule = call ptr @PyCapsule_New(ptr %block, ptr @blocks.name, ptr @blocks.return)
  %no.capsule = icmp eq ptr %capsule, null
  br i1 %no.capsule, label %drop.array, label %attach

attach:
  %size.as.pointer = inttoptr i64 %size to ptr
  %kept = call i32 @PyCapsule_SetContext(ptr %capsule, ptr %size.as.pointer)
  %set = call i32 @PyArray_SetBaseObject(ptr %array, ptr %capsule)
  %refused = icmp ne i32 %set, 0
  br i1 %refused, label %fail, label %done

done:
  ret ptr %array

plain:                                                           ; NumPy says how much is missing
  %usual = call ptr @array.new(ptr %spec, ptr null, i32 0)
  ret ptr %usual

fail:                                                            ; the block went with the capsule
  call void @Py_DecRef(ptr %array)
  ret ptr null

drop.array:
  call void @Py_DecRef(ptr %array)
  br label %drop.block

drop.block:
  call void @blocks.give(ptr %block, i64 %size)
  ret ptr null
}

; The destructor of a capsule.
define internal void @blocks.return(ptr %capsule) #0 {
  %block = call ptr @PyCapsule_GetPointer(ptr %capsule, ptr @blocks.name)
  %context = call ptr @PyCapsule_GetContext(ptr %capsule)
  %size = ptrtoint ptr %context to i64
  call void @blocks.give(ptr %block, i64 %size)
  ret void
}

; The next of four sizes an octave: what programs ask for varies, and a block fits its own size only.
define internal i64 @blocks.round(i64 %bytes) #0 {
  %less = sub i64 %bytes, 1
  %zeros = call i64 @llvm.ctlz.i64(i64 %less, i1 false)
  %shift = sub i64 61, %zeros                                    ; a quarter of the power of two below
  %quarter = shl i64 1, %shift
  %last = sub i64 %quarter, 1
  %above = add i64 %bytes, %last
  %mask = xor i64 %last, -1
  %size = and i64 %above, %mask
  ret i64 %size
}

; A block of %size bytes; null if the system has none even after it got all free ones back.
define internal ptr @blocks.get(i64 %size) #0 {
entry:
  %kept = call ptr @blocks.take(i64 %size)
  %none = icmp eq ptr %kept, null
  br i1 %none, label %ask, label %done

ask:
  %fresh = call ptr @blocks.fresh(i64 %size)
  %refused = icmp eq ptr %fresh, null
  br i1 %refused, label %again, label %done

again:
  call void @blocks.trim(i64 0)
  %second = call ptr @blocks.fresh(i64 %size)
  br label %done

done:
  %block = phi ptr [ %kept, %entry ], [ %fresh, %ask ], [ %second, %again ]
  ret ptr %block
}

; A block from the system, or null.
define internal ptr @blocks.fresh(i64 %size) #0 {
entry:
  %place = alloca ptr
  %huge.from = load i64, ptr @blocks.huge
  %huge = icmp uge i64 %size, %huge.from
  %alignment = select i1 %huge, i64 2097152, i64 64
  %status = call i32 @posix_memalign(ptr %place, i64 %alignment, i64 %size)
  %failed = icmp ne i32 %status, 0
  br i1 %failed, label %none, label %some

some:
  %block = load ptr, ptr %place
  br i1 %huge, label %advise, label %done

advise:                                                          ; MADV_HUGEPAGE; others refuse the number
  %ignored = call i32 @madvise(ptr %block, i64 %size, i32 14)
  br label %done

done:
  ret ptr %block

none:
  ret ptr null
}

; The free block of exactly %size bytes that was used last, or null.
define internal ptr @blocks.take(i64 %size) #0 {
entry:
  %number = load i64, ptr @blocks.number
  br label %loop

loop:
  %above = phi i64 [ %number, %entry ], [ %i, %one ]
  %i = sub i64 %above, 1
  %more = icmp sge i64 %i, 0
  br i1 %more, label %one, label %none

one:
  %at = getelementptr %Block, ptr @blocks.free, i64 %i, i32 1
  %bytes = load i64, ptr %at
  %fits = icmp eq i64 %bytes, %size
  br i1 %fits, label %found, label %loop

found:
  %block = call ptr @blocks.remove(i64 %i)
  ret ptr %block

none:
  ret ptr null
}

; Keep a block, at the expense of those unused for longest; one beyond the limit goes at once.
define internal void @blocks.give(ptr %block, i64 %size) #0 {
entry:
  %most = load i64, ptr @blocks.most
  %beyond = icmp ugt i64 %size, %most
  br i1 %beyond, label %drop, label %room

drop:
  call void @free(ptr %block)
  ret void

room:
  %rest = sub i64 %most, %size
  call void @blocks.trim(i64 %rest)
  %number = load i64, ptr @blocks.number
  %full = icmp eq i64 %number, 64
  br i1 %full, label %evict, label %keep

evict:
  call void @blocks.drop.oldest()
  br label %keep

keep:
  %place = load i64, ptr @blocks.number
  %at = getelementptr %Block, ptr @blocks.free, i64 %place
  store ptr %block, ptr %at
  %size.at = getelementptr %Block, ptr %at, i32 0, i32 1
  store i64 %size, ptr %size.at
  %next = add i64 %place, 1
  store i64 %next, ptr @blocks.number
  %bytes = load i64, ptr @blocks.bytes
  %total = add i64 %bytes, %size
  store i64 %total, ptr @blocks.bytes
  ret void
}

; Drop free blocks, those unused for longest first, until they have at most %most bytes.
define internal void @blocks.trim(i64 %most) #0 {
entry:
  br label %loop

loop:
  %bytes = load i64, ptr @blocks.bytes
  %over = icmp ugt i64 %bytes, %most
  br i1 %over, label %one, label %done

one:
  call void @blocks.drop.oldest()
  br label %loop

done:
  ret void
}

define internal void @blocks.drop.oldest() #0 {
  %oldest = call ptr @blocks.remove(i64 0)
  call void @free(ptr %oldest)
  ret void
}

; Take a free block out of the list, which closes up.
define internal ptr @blocks.remove(i64 %index) #0 {
entry:
  %at = getelementptr %Block, ptr @blocks.free, i64 %index
  %block = load ptr, ptr %at
  %size.at = getelementptr %Block, ptr %at, i32 0, i32 1
  %size = load i64, ptr %size.at
  %bytes = load i64, ptr @blocks.bytes
  %left = sub i64 %bytes, %size
  store i64 %left, ptr @blocks.bytes
  %number = load i64, ptr @blocks.number
  %last = sub i64 %number, 1
  store i64 %last, ptr @blocks.number
  br label %loop

loop:
  %i = phi i64 [ %index, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %last
  br i1 %more, label %one, label %done

one:
  %next = add i64 %i, 1
  %from = getelementptr %Block, ptr @blocks.free, i64 %next
  %to = getelementptr %Block, ptr @blocks.free, i64 %i
  %moved = load %Block, ptr %from
  store %Block %moved, ptr %to
  br label %loop

done:
  ret ptr %block
}

; Keep at most %most bytes from now on.
define void @blocks.limit(i64 %most) #0 {
  store i64 %most, ptr @blocks.most
  call void @blocks.trim(i64 %most)
  ret void
}

; How many bytes free blocks have.
define i64 @blocks.kept() #0 {
  %bytes = load i64, ptr @blocks.bytes
  ret i64 %bytes
}
