; C[b] = A[b] @ B[b] through CBLAS (64-bit integers). $float is `float` or `double`, $name f32 or f64; the
; includer defines the rest by address: @gemm.$name and @gemv.$name.
;
; meta: batch M N K, then batch, row and column stride of A, of B, of C, in elements. A matrix whose
; columns are adjacent goes as it is, one whose rows are adjacent goes as its transpose. A matrix that is one
; column wide counts as row-major whatever its strides say, so a leading dimension is always legal.

declare i64 @llvm.smax.i64(i64, i64)
declare void @gemm.$name(i32, i32, i32, i64, i64, i64, $float, ptr, i64, ptr, i64, $float, ptr, i64)
declare void @gemv.$name(i32, i32, i64, i64, $float, ptr, i64, ptr, i64, $float, ptr, i64)

define i64 @matmul.$name(ptr %operands, ptr %meta, i64 %begin, i64 %end) #0 {
entry:
  %a.base = load ptr, ptr %operands
  %b.base.at = getelementptr ptr, ptr %operands, i64 1
  %b.base = load ptr, ptr %b.base.at
  %c.base.at = getelementptr ptr, ptr %operands, i64 2
  %c.base = load ptr, ptr %c.base.at
  %m.at = getelementptr i64, ptr %meta, i64 1
  %m = load i64, ptr %m.at
  %n.at = getelementptr i64, ptr %meta, i64 2
  %n = load i64, ptr %n.at
  %k.at = getelementptr i64, ptr %meta, i64 3
  %k = load i64, ptr %k.at
  %a.batch.at = getelementptr i64, ptr %meta, i64 4
  %a.batch = load i64, ptr %a.batch.at
  %a.row.at = getelementptr i64, ptr %meta, i64 5
  %a.row = load i64, ptr %a.row.at
  %a.column.at = getelementptr i64, ptr %meta, i64 6
  %a.column = load i64, ptr %a.column.at
  %b.batch.at = getelementptr i64, ptr %meta, i64 7
  %b.batch = load i64, ptr %b.batch.at
  %b.row.at = getelementptr i64, ptr %meta, i64 8
  %b.row = load i64, ptr %b.row.at
  %b.column.at = getelementptr i64, ptr %meta, i64 9
  %b.column = load i64, ptr %b.column.at
  %c.batch.at = getelementptr i64, ptr %meta, i64 10
  %c.batch = load i64, ptr %c.batch.at
  %c.row.at = getelementptr i64, ptr %meta, i64 11
  %c.row = load i64, ptr %c.row.at

  ; Transposed or not, and the distance between the rows of what is stored.
  %a.adjacent = icmp eq i64 %a.column, 1
  %a.narrow = icmp eq i64 %k, 1
  %a.plain = or i1 %a.adjacent, %a.narrow
  %a.order = select i1 %a.plain, i32 111, i32 112
  %a.stride = select i1 %a.plain, i64 %a.row, i64 %a.column
  %a.width = select i1 %a.plain, i64 %k, i64 %m
  %lda = call i64 @llvm.smax.i64(i64 %a.stride, i64 %a.width)
  %b.adjacent = icmp eq i64 %b.column, 1
  %b.narrow = icmp eq i64 %n, 1
  %b.plain = or i1 %b.adjacent, %b.narrow
  %b.order = select i1 %b.plain, i32 111, i32 112
  %b.stride = select i1 %b.plain, i64 %b.row, i64 %b.column
  %b.width = select i1 %b.plain, i64 %n, i64 %k
  %ldb = call i64 @llvm.smax.i64(i64 %b.stride, i64 %b.width)
  %ldc = call i64 @llvm.smax.i64(i64 %c.row, i64 %n)

  ; One row or one column is a matrix times a vector: y = op(X) v. For one row that is B transposed
  ; times the row of A.
  %one.column = icmp eq i64 %n, 1
  %one.row = icmp eq i64 %m, 1
  %vector = or i1 %one.column, %one.row
  %b.flipped = select i1 %b.plain, i32 112, i32 111
  %v.order = select i1 %one.column, i32 %a.order, i32 %b.flipped
  %a.height = select i1 %a.plain, i64 %m, i64 %k
  %b.height = select i1 %b.plain, i64 %k, i64 %n
  %v.height = select i1 %one.column, i64 %a.height, i64 %b.height
  %v.width = select i1 %one.column, i64 %a.width, i64 %b.width
  %v.stride = select i1 %one.column, i64 %lda, i64 %ldb
  %x.step = select i1 %one.column, i64 %b.row, i64 %a.column
  %x.legal = call i64 @llvm.smax.i64(i64 %x.step, i64 1)
  %y.step = select i1 %one.column, i64 %ldc, i64 1

  %no.rows = icmp sle i64 %m, 0
  %no.columns = icmp sle i64 %n, 0
  %nothing = or i1 %no.rows, %no.columns
  br i1 %nothing, label %done, label %batches

batches:
  %batch = phi i64 [ %begin, %entry ], [ %batch.next, %next ]
  %more = icmp slt i64 %batch, %end
  br i1 %more, label %one, label %done

one:
  %a.offset = mul i64 %batch, %a.batch
  %a = getelementptr $float, ptr %a.base, i64 %a.offset
  %b.offset = mul i64 %batch, %b.batch
  %b = getelementptr $float, ptr %b.base, i64 %b.offset
  %c.offset = mul i64 %batch, %c.batch
  %c = getelementptr $float, ptr %c.base, i64 %c.offset
  %no.sum = icmp sle i64 %k, 0
  br i1 %no.sum, label %zero.row, label %multiply

multiply:
  br i1 %vector, label %by.vector, label %by.matrix

by.matrix:
  call void @gemm.$name(i32 101, i32 %a.order, i32 %b.order, i64 %m, i64 %n, i64 %k, $float 1.0, ptr %a, i64 %lda,
                        ptr %b, i64 %ldb, $float 0.0, ptr %c, i64 %ldc)
  br label %next

by.vector:
  %x.matrix = select i1 %one.column, ptr %a, ptr %b
  %x.vector = select i1 %one.column, ptr %b, ptr %a
  call void @gemv.$name(i32 101, i32 %v.order, i64 %v.height, i64 %v.width, $float 1.0, ptr %x.matrix, i64 %v.stride,
                        ptr %x.vector, i64 %x.legal, $float 0.0, ptr %c, i64 %y.step)
  br label %next

zero.row:                                         ; K = 0: BLAS may return without touching C
  %i = phi i64 [ 0, %one ], [ %i.next, %zero.row.done ]
  %more.rows = icmp slt i64 %i, %m
  br i1 %more.rows, label %zero.start, label %next

zero.start:
  %row.offset = mul i64 %i, %ldc
  %row = getelementptr $float, ptr %c, i64 %row.offset
  br label %zero.column

zero.column:
  %j = phi i64 [ 0, %zero.start ], [ %j.next, %zero.column ]
  %at = getelementptr $float, ptr %row, i64 %j
  store $float 0.0, ptr %at
  %j.next = add i64 %j, 1
  %more.columns = icmp slt i64 %j.next, %n
  br i1 %more.columns, label %zero.column, label %zero.row.done

zero.row.done:
  %i.next = add i64 %i, 1
  br label %zero.row

next:
  %batch.next = add i64 %batch, 1
  br label %batches

done:
  ret i64 0
}
