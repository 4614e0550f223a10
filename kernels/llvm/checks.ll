; Checks: take a value from somewhere, and expect something of it. What a call's arguments and the world
; around it must be for a plan to apply is a list of them.

%Check = type {
  i64,                    ; 0 where the source is: 0 an object, 1 behind a weak reference, 2 the value of an
                          ;   earlier check, 3 an argument
  i64,                    ; 1 what to take from it; see @take
  i64,                    ; 2 what to expect of that; see @expect
  i64,                    ; 3 register in which later checks find the value, or -1
  ptr,                    ; 4 the source: object or weak reference
  i64,                    ; 5 or its number: register or argument
  ptr,                    ; 6 dict key or attribute name
  i64,                    ; 7 index of an item, or offset of a slot
  ptr,                    ; 8 expected: object, weak reference or type; or registers that must differ
  i64,                    ; 9 expected length; address of the class behind a weak reference; the plan's input
                          ;   to bind; the register to compare with; or how many registers must differ
  i64,                    ; 10 offset of the ndarray in a Tensor, 0: the value is the ndarray itself; or the last
                          ;   place of the table at 12
  ptr,                    ; 11 %Array that it must fit; or the row that says so of an array elsewhere
  ptr                     ; 12 bytes that it must hold, or null: bind it; or a table to find equal registers in
}

; Run all checks. The number of the first that fails, or -1. With a frame, arrays and floats are bound
; in it. The registers must be null before; afterwards they hold references.
define internal i64 @checks(ptr %checks, i64 %count, ptr %args, i64 %nargs, ptr %registers, ptr %frame) alwaysinline #0 {
entry:
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %passed

one:
  %check = getelementptr %Check, ptr %checks, i64 %i
  %holds = call i1 @check(ptr %check, ptr %args, i64 %nargs, ptr %registers, ptr %frame)
  %next = add i64 %i, 1
  br i1 %holds, label %loop, label %failed

failed:
  call void @PyErr_Clear()
  ret i64 %i

passed:
  ret i64 -1
}

; Who holds what: the caller the arguments, the entry its own objects, a register what it keeps; an object
; behind a weak reference is held here, unless an array is expected, for which none of the user's code runs.
; A value that is lent is counted only if it is kept: most are looked at and forgotten, and counting took a
; third of the time of checking.
define internal i1 @check(ptr %check, ptr %args, i64 %nargs, ptr %registers, ptr %frame) alwaysinline #0 {
entry:
  %source = call ptr @source(ptr %check, ptr %args, i64 %nargs, ptr %registers)
  %gone = icmp eq ptr %source, null
  br i1 %gone, label %fail, label %begin

begin:
  %kind = load i64, ptr %check
  %weak = icmp eq i64 %kind, 1
  %expects.at = getelementptr %Check, ptr %check, i32 0, i32 2
  %expects = load i64, ptr %expects.at
  %runs.code = icmp ne i64 %expects, 6            ; an array
  %held = and i1 %weak, %runs.code
  br i1 %held, label %hold, label %look

hold:
  call void @Py_IncRef(ptr %source)
  br label %look

look:
  %value = call ptr @take(ptr %check, ptr %source)
  %what.at = getelementptr %Check, ptr %check, i32 0, i32 1
  %what = load i64, ptr %what.at
  %new.kinds = and i64 %what, -2
  %new = icmp eq i64 %new.kinds, 2                ; the content of a cell, an attribute: ours to drop
  %register.at = getelementptr %Check, ptr %check, i32 0, i32 3
  %register = load i64, ptr %register.at
  %kept = icmp sge i64 %register, 0
  br i1 %kept, label %keep, label %compare

keep:                                             ; before `expect`, which may run the user's code
  %slot = getelementptr ptr, ptr %registers, i64 %register
  store ptr %value, ptr %slot
  br i1 %new, label %compare, label %count

count:
  call void @Py_IncRef(ptr %value)
  br label %compare

compare:
  %holds = call i1 @expect(ptr %check, ptr %source, ptr %value, ptr %registers, ptr %frame)
  %passing = xor i1 %kept, true
  %drops = and i1 %new, %passing
  br i1 %drops, label %drop, label %after

drop:
  call void @Py_DecRef(ptr %value)
  br label %after

after:
  br i1 %held, label %let.go, label %done

let.go:
  call void @Py_DecRef(ptr %source)
  br label %done

done:
  ret i1 %holds

fail:
  ret i1 false
}

; The source of a check, borrowed, or null if there is none.
define internal ptr @source(ptr %check, ptr %args, i64 %nargs, ptr %registers) alwaysinline #0 {
entry:
  %kind = load i64, ptr %check
  %object.at = getelementptr %Check, ptr %check, i32 0, i32 4
  %object = load ptr, ptr %object.at
  %number.at = getelementptr %Check, ptr %check, i32 0, i32 5
  %number = load i64, ptr %number.at
  switch i64 %kind, label %argument [ i64 0, label %done
                                      i64 1, label %weak
                                      i64 2, label %register ]

weak:
  %alive = call ptr @referent(ptr %object)
  br label %done

register:
  %register.at = getelementptr ptr, ptr %registers, i64 %number
  %kept = load ptr, ptr %register.at
  br label %done

argument:
  %given = icmp slt i64 %number, %nargs
  br i1 %given, label %take, label %done

take:
  %arg.at = getelementptr ptr, ptr %args, i64 %number
  %arg = load ptr, ptr %arg.at
  br label %done

done:
  %source = phi ptr [ %object, %entry ], [ %alive, %weak ], [ %kept, %register ], [ null, %argument ], [ %arg, %take ]
  ret ptr %source
}

; What a weak reference refers to, borrowed, or null. An object that is going has a count of 0 before its
; references say so.
define internal ptr @referent(ptr %reference) alwaysinline #0 {
  %object.at = getelementptr %weakref, ptr %reference, i32 0, i32 2
  %object = load ptr, ptr %object.at
  %count = call i64 @references(ptr %object)
  %going = icmp eq i64 %count, 0
  %gone = icmp eq ptr %object, @_Py_NoneStruct
  %dead = or i1 %going, %gone
  %alive = select i1 %dead, ptr null, ptr %object
  ret ptr %alive
}

; What a check looks at; null if absent or on an error, which stays set. A new reference to the content of
; a cell and to an attribute, else borrowed.
define internal ptr @take(ptr %check, ptr %source) alwaysinline #0 {
entry:
  %what.at = getelementptr %Check, ptr %check, i32 0, i32 1
  %what = load i64, ptr %what.at
  %key.at = getelementptr %Check, ptr %check, i32 0, i32 6
  %key = load ptr, ptr %key.at
  switch i64 %what, label %itself [ i64 1, label %entry.of.dict
                                    i64 2, label %content.of.cell
                                    i64 3, label %attribute
                                    i64 4, label %item
                                    i64 5, label %code
                                    i64 6, label %defaults
                                    i64 7, label %kwdefaults
                                    i64 8, label %closure
                                    i64 9, label %slot ]

itself:
  ret ptr %source

entry.of.dict:
  %entry.value = call ptr @PyDict_GetItemWithError(ptr %source, ptr %key)
  br label %done

content.of.cell:
  %content = call ptr @PyCell_Get(ptr %source)
  br label %done

attribute:
  %attribute.value = call ptr @PyObject_GetAttr(ptr %source, ptr %key)
  br label %done

item:
  %index.at = getelementptr %Check, ptr %check, i32 0, i32 7
  %index = load i64, ptr %index.at
  %type.at = getelementptr %object, ptr %source, i32 0, i32 1
  %type = load ptr, ptr %type.at
  %type.flags = call i64 @PyType_GetFlags(ptr %type)
  %tuple.flag = and i64 %type.flags, 67108864     ; Py_TPFLAGS_TUPLE_SUBCLASS
  %is.tuple = icmp ne i64 %tuple.flag, 0
  br i1 %is.tuple, label %item.of.tuple, label %item.of.list

item.of.tuple:
  %tuple.item = call ptr @PyTuple_GetItem(ptr %source, i64 %index)
  br label %done

item.of.list:                                     ; neither a list nor a tuple: an error, hence a miss
  %list.item = call ptr @PyList_GetItem(ptr %source, i64 %index)
  br label %done

slot:
  %offset.at = getelementptr %Check, ptr %check, i32 0, i32 7
  %offset = load i64, ptr %offset.at
  %slot.at = getelementptr i8, ptr %source, i64 %offset
  %slot.value = load ptr, ptr %slot.at
  br label %done

code:
  %code.value = call ptr @PyFunction_GetCode(ptr %source)
  br label %done

defaults:
  %defaults.value = call ptr @PyFunction_GetDefaults(ptr %source)
  br label %done

kwdefaults:
  %kwdefaults.value = call ptr @PyFunction_GetKwDefaults(ptr %source)
  br label %done

closure:
  %closure.value = call ptr @PyFunction_GetClosure(ptr %source)
  br label %done

done:
  %value = phi ptr [ %entry.value, %entry.of.dict ], [ %content, %content.of.cell ], [ %attribute.value, %attribute ],
                   [ %tuple.item, %item.of.tuple ], [ %list.item, %item.of.list ], [ %code.value, %code ],
                   [ %defaults.value, %defaults ], [ %kwdefaults.value, %kwdefaults ], [ %closure.value, %closure ],
                   [ %slot.value, %slot ]
  ret ptr %value
}

; Empty %count registers.
define internal void @registers.clear(ptr %registers, i64 %count) alwaysinline #0 {
entry:
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %slot = getelementptr ptr, ptr %registers, i64 %i
  %value = load ptr, ptr %slot
  store ptr null, ptr %slot
  call void @Py_DecRef(ptr %value)
  %next = add i64 %i, 1
  br label %loop

done:
  ret void
}

; Room for %count registers on the caller's stack is made by the caller; this makes them null.
define internal void @registers.start(ptr %registers, i64 %count) alwaysinline #0 {
entry:
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %slot = getelementptr ptr, ptr %registers, i64 %i
  store ptr null, ptr %slot
  %next = add i64 %i, 1
  br label %loop

done:
  ret void
}
