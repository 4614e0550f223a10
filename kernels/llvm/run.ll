; NativePlan.run: a builtin function of one argument, the sequence of inputs. Its self is a tuple that
; owns the plan's memory and begins with the plan's address.

define ptr @run(ptr %self, ptr %sequence) #0 {
entry:
  %address = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %plan = call ptr @PyLong_AsVoidPtr(ptr %address)
  ; A tuple of its own holds the inputs: a Python step may change the caller's list.
  %inputs = call ptr @PySequence_Tuple(ptr %sequence)
  %no.inputs = icmp eq ptr %inputs, null
  br i1 %no.inputs, label %fail, label %own

own:
  %owner.slot = alloca ptr
  %frame = call ptr @frame.take(ptr %plan, ptr %owner.slot)
  %no.frame = icmp eq ptr %frame, null
  br i1 %no.frame, label %done, label %use

use:
  %value = call ptr @run.frame(ptr %plan, ptr %frame, ptr %inputs)
  %owner = load ptr, ptr %owner.slot
  call void @frame.give(ptr %plan, ptr %frame, ptr %owner)
  br label %done

done:
  %result = phi ptr [ null, %own ], [ %value, %use ]
  call void @Py_DecRef(ptr %inputs)
  ret ptr %result

fail:
  ret ptr null
}

; A frame to run in: the plan's own, or, if that is in use, another, whose owner is then put into the slot.
; Null with a Python exception set if there is no memory.
define internal ptr @frame.take(ptr %plan, ptr %owner.slot) #0 {
entry:
  store ptr null, ptr %owner.slot
  %busy.at = getelementptr %Plan, ptr %plan, i32 0, i32 1
  %busy = load i64, ptr %busy.at
  %free = icmp eq i64 %busy, 0
  br i1 %free, label %take, label %another

take:
  store i64 1, ptr %busy.at
  %own = load ptr, ptr %plan
  ret ptr %own

another:
  %fresh.at = getelementptr %Plan, ptr %plan, i32 0, i32 9
  %fresh = load ptr, ptr %fresh.at
  %owner = call ptr @PyObject_Vectorcall(ptr %fresh, ptr null, i64 0, ptr null)
  %none = icmp eq ptr %owner, null
  br i1 %none, label %fail, label %made

made:
  store ptr %owner, ptr %owner.slot
  %address = call ptr @PyTuple_GetItem(ptr %owner, i64 0)
  %frame = call ptr @PyLong_AsVoidPtr(ptr %address)
  ret ptr %frame

fail:
  ret ptr null
}

; Empty a frame and give it back.
define internal void @frame.give(ptr %plan, ptr %frame, ptr %owner) #0 {
entry:
  call void @release(ptr %plan, ptr %frame)
  %own = icmp eq ptr %owner, null
  br i1 %own, label %free, label %drop

free:
  %busy.at = getelementptr %Plan, ptr %plan, i32 0, i32 1
  store i64 0, ptr %busy.at
  ret void

drop:
  call void @Py_DecRef(ptr %owner)
  ret void
}

; Run in a frame. A list of the outputs, a StoppedAt, or null: an exception.
define internal ptr @run.frame(ptr %plan, ptr %frame, ptr %inputs) #0 {
entry:
  %fits = call i1 @bind.inputs(ptr %plan, ptr %frame, ptr %inputs)
  br i1 %fits, label %go, label %refuse

refuse:
  %args = alloca ptr
  store ptr %inputs, ptr %args
  %refuse.at = getelementptr %Plan, ptr %plan, i32 0, i32 11
  %refuse.it = load ptr, ptr %refuse.at
  %nothing = call ptr @PyObject_Vectorcall(ptr %refuse.it, ptr %args, i64 1, ptr null)
  br label %done

go:
  %status = call i64 @execute(ptr %plan, ptr %frame)
  switch i64 %status, label %done [ i64 0, label %outputs
                                    i64 1, label %stopped ]

outputs:
  %list = call ptr @output.list(ptr %plan, ptr %frame)
  br label %done

stopped:
  %stop = call ptr @stop.at(ptr %plan, ptr %frame)
  br label %done

done:
  %result = phi ptr [ %nothing, %refuse ], [ null, %go ], [ %list, %outputs ], [ %stop, %stopped ]
  ret ptr %result
}

; Whether the tuple has the arrays that the plan expects; binds them.
define internal i1 @bind.inputs(ptr %plan, ptr %frame, ptr %inputs) #0 {
entry:
  %count.at = getelementptr %Plan, ptr %plan, i32 0, i32 2
  %count = load i64, ptr %count.at
  %specs.at = getelementptr %Plan, ptr %plan, i32 0, i32 4
  %specs = load ptr, ptr %specs.at
  %given = call i64 @PyTuple_Size(ptr %inputs)
  %enough = icmp eq i64 %given, %count
  br i1 %enough, label %loop, label %no

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %take ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes

one:
  %array = call ptr @PyTuple_GetItem(ptr %inputs, i64 %i)
  %spec = getelementptr %Array, ptr %specs, i64 %i
  %fits = call i1 @array.fits(ptr %array, ptr %spec)
  br i1 %fits, label %take, label %no

take:
  call void @Py_IncRef(ptr %array)
  %data = call ptr @array.data(ptr %array)
  call void @bind(ptr %frame, i64 %i, ptr %array, ptr %data)
  %next = add i64 %i, 1
  br label %loop

yes:
  ret i1 true

no:
  ret i1 false
}

; The outputs as a list; they leave the frame.
define internal ptr @output.list(ptr %plan, ptr %frame) #0 {
entry:
  %first.at = getelementptr %Plan, ptr %plan, i32 0, i32 2
  %first = load i64, ptr %first.at
  %end.at = getelementptr %Plan, ptr %plan, i32 0, i32 3
  %end = load i64, ptr %end.at
  %count = sub i64 %end, %first
  %list = call ptr @PyList_New(i64 %count)
  %failed = icmp eq ptr %list, null
  br i1 %failed, label %done, label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %binding = add i64 %first, %i
  %array = call ptr @unbind(ptr %frame, i64 %binding)
  %set = call i32 @PyList_SetItem(ptr %list, i64 %i, ptr %array)
  %next = add i64 %i, 1
  br label %loop

done:
  ret ptr %list
}

; What Python makes of a guard that stopped the plan: its step and the bytes that it saw.
define internal ptr @stop.at(ptr %plan, ptr %frame) #0 {
entry:
  %where.at = getelementptr %Frame, ptr %frame, i32 0, i32 5
  %where = load i64, ptr %where.at
  %steps.at = getelementptr %Plan, ptr %plan, i32 0, i32 8
  %steps = load ptr, ptr %steps.at
  %step = getelementptr %Step, ptr %steps, i64 %where
  %meta.at = getelementptr %Step, ptr %step, i32 0, i32 1
  %meta = load ptr, ptr %meta.at
  %size = load i64, ptr %meta
  %first.at = getelementptr %Step, ptr %step, i32 0, i32 3
  %first = load i64, ptr %first.at
  %number.at = getelementptr %Step, ptr %step, i32 0, i32 4
  %number = load i64, ptr %number.at
  %operands.at = getelementptr %Frame, ptr %frame, i32 0, i32 3
  %operands = load ptr, ptr %operands.at
  %operand.at = getelementptr ptr, ptr %operands, i64 %first
  %operand = load ptr, ptr %operand.at
  %args = alloca [2 x ptr]
  %second = getelementptr ptr, ptr %args, i64 1
  %step.object = call ptr @PyLong_FromSsize_t(i64 %number)
  store ptr %step.object, ptr %args
  %seen = call ptr @PyBytes_FromStringAndSize(ptr %operand, i64 %size)
  store ptr %seen, ptr %second
  %no.step = icmp eq ptr %step.object, null
  %no.bytes = icmp eq ptr %seen, null
  %failed = or i1 %no.step, %no.bytes
  br i1 %failed, label %done, label %make

make:
  %stopped.at = getelementptr %Plan, ptr %plan, i32 0, i32 10
  %stopped = load ptr, ptr %stopped.at
  %result = call ptr @PyObject_Vectorcall(ptr %stopped, ptr %args, i64 2, ptr null)
  br label %done

done:
  %answer = phi ptr [ null, %entry ], [ %result, %make ]
  call void @Py_DecRef(ptr %step.object)
  call void @Py_DecRef(ptr %seen)
  ret ptr %answer
}
