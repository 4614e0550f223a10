; The result of a call that a plan has run: objects are made, Variables assigned, and the objects nested.

%Made = type {
  i64,                    ; 0 0 a Tensor around the array of a binding, 1 around a copy of it, 2 around an
                          ;   array of the entry's own; 3 the object in a register
  i64,                    ; 1 number of the binding or register
  ptr                     ; 2 the array
}

%Store = type { i64, i64 }        ; register of a Variable, number of the object that it is assigned

; A tree in postfix form: a node takes its children off a stack and puts itself there.
%Node = type {
  i64,                    ; 0 0 an object that was made, 1 this object, 2 a tuple, 3 a list, 4 a dict, 5 what
                          ;   calling this object gives
  i64,                    ; 1 number of the object, or of the children
  ptr                     ; 2 the object; or the dict's keys, a tuple
}

; Make the objects. False on failure.
define internal i1 @make(ptr %state, ptr %entry, ptr %frame, ptr %registers, ptr %made) alwaysinline #0 {
start:
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 5
  %count = load i64, ptr %count.at
  %rows.at = getelementptr %Entry, ptr %entry, i32 0, i32 6
  %rows = load ptr, ptr %rows.at
  %plan.at = getelementptr %Entry, ptr %entry, i32 0, i32 1
  %plan = load ptr, ptr %plan.at
  br label %loop

loop:
  %i = phi i64 [ 0, %start ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes

one:
  %row = getelementptr %Made, ptr %rows, i64 %i
  %object = call ptr @make.one(ptr %state, ptr %plan, ptr %frame, ptr %registers, ptr %row)
  %at = getelementptr ptr, ptr %made, i64 %i
  store ptr %object, ptr %at
  %next = add i64 %i, 1
  %failed = icmp eq ptr %object, null
  br i1 %failed, label %no, label %loop

yes:
  ret i1 true

no:
  ret i1 false
}

define internal ptr @make.one(ptr %state, ptr %plan, ptr %frame, ptr %registers, ptr %row) alwaysinline #0 {
entry:
  %kind = load i64, ptr %row
  %number.at = getelementptr %Made, ptr %row, i32 0, i32 1
  %number = load i64, ptr %number.at
  %owners.at = getelementptr %Frame, ptr %frame, i32 0, i32 1
  %owners = load ptr, ptr %owners.at
  switch i64 %kind, label %taken [ i64 0, label %shared
                                   i64 1, label %copied
                                   i64 2, label %own ]

shared:
  %owner.at = getelementptr ptr, ptr %owners, i64 %number
  %owner = load ptr, ptr %owner.at
  call void @Py_IncRef(ptr %owner)
  br label %around

copied:
  %copy = call ptr @copy.of(ptr %plan, ptr %frame, i64 %number)
  %failed = icmp eq ptr %copy, null
  br i1 %failed, label %fail, label %around

own:
  %array.at = getelementptr %Made, ptr %row, i32 0, i32 2
  %array.own = load ptr, ptr %array.at
  call void @Py_IncRef(ptr %array.own)
  br label %around

around:
  %array = phi ptr [ %owner, %shared ], [ %copy, %copied ], [ %array.own, %own ]
  %tensor = call ptr @tensor(ptr %state, ptr %array)
  ret ptr %tensor

taken:
  %register = getelementptr ptr, ptr %registers, i64 %number
  %value = load ptr, ptr %register
  call void @Py_IncRef(ptr %value)
  ret ptr %value

fail:
  ret ptr null
}

; A new array with the content of a binding.
define internal ptr @copy.of(ptr %plan, ptr %frame, i64 %number) #0 {
entry:
  %specs.at = getelementptr %Plan, ptr %plan, i32 0, i32 4
  %specs = load ptr, ptr %specs.at
  %spec = getelementptr %Array, ptr %specs, i64 %number
  %array = call ptr @array.new(ptr %spec, ptr null, i32 0)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %done, label %copy

copy:
  %to = call ptr @array.data(ptr %array)
  %bases.at = getelementptr %Frame, ptr %frame, i32 0, i32 0
  %bases = load ptr, ptr %bases.at
  %from.at = getelementptr ptr, ptr %bases, i64 %number
  %from = load ptr, ptr %from.at
  %size.at = getelementptr %Array, ptr %spec, i32 0, i32 4
  %size = load i64, ptr %size.at
  br label %loop

loop:
  %i = phi i64 [ 0, %copy ], [ %next, %one ]
  %more = icmp slt i64 %i, %size
  br i1 %more, label %one, label %done

one:
  %from.byte = getelementptr i8, ptr %from, i64 %i
  %byte = load i8, ptr %from.byte
  %to.byte = getelementptr i8, ptr %to, i64 %i
  store i8 %byte, ptr %to.byte
  %next = add i64 %i, 1
  br label %loop

done:
  ret ptr %array
}

; A Tensor around an array, whose reference it takes over. Null on failure.
define internal ptr @tensor(ptr %state, ptr %array) alwaysinline #0 {
entry:
  %class.at = getelementptr %State, ptr %state, i32 0, i32 6
  %class = load ptr, ptr %class.at
  %tensor = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %failed = icmp eq ptr %tensor, null
  br i1 %failed, label %drop, label %store

drop:
  call void @Py_DecRef(ptr %array)
  ret ptr null

store:
  %offset.at = getelementptr %State, ptr %state, i32 0, i32 7
  %offset = load i64, ptr %offset.at
  %slot = getelementptr i8, ptr %tensor, i64 %offset
  store ptr %array, ptr %slot
  %count.at = getelementptr %State, ptr %state, i32 0, i32 8
  %count = load i64, ptr %count.at
  %blanks.at = getelementptr %State, ptr %state, i32 0, i32 9
  %blanks = load ptr, ptr %blanks.at
  br label %loop

loop:
  %i = phi i64 [ 0, %store ], [ %next, %blank ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %blank, label %done

blank:
  %at = getelementptr i64, ptr %blanks, i64 %i
  %blank.offset = load i64, ptr %at
  %blank.slot = getelementptr i8, ptr %tensor, i64 %blank.offset
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  store ptr @_Py_NoneStruct, ptr %blank.slot
  %next = add i64 %i, 1
  br label %loop

done:
  ret ptr %tensor
}

; Give each Variable its new Tensor.
define internal void @assign(ptr %state, ptr %entry, ptr %registers, ptr %made) #0 {
start:
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 7
  %count = load i64, ptr %count.at
  %rows.at = getelementptr %Entry, ptr %entry, i32 0, i32 8
  %rows = load ptr, ptr %rows.at
  %offset.at = getelementptr %State, ptr %state, i32 0, i32 14
  %offset = load i64, ptr %offset.at
  br label %loop

loop:
  %i = phi i64 [ 0, %start ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %row = getelementptr %Store, ptr %rows, i64 %i
  %register = load i64, ptr %row
  %number.at = getelementptr %Store, ptr %row, i32 0, i32 1
  %number = load i64, ptr %number.at
  %variable.at = getelementptr ptr, ptr %registers, i64 %register
  %variable = load ptr, ptr %variable.at
  %value.at = getelementptr ptr, ptr %made, i64 %number
  %value = load ptr, ptr %value.at
  call void @Py_IncRef(ptr %value)
  %slot = getelementptr i8, ptr %variable, i64 %offset
  %before = load ptr, ptr %slot
  store ptr %value, ptr %slot
  call void @Py_DecRef(ptr %before)
  %next = add i64 %i, 1
  br label %loop

done:
  ret void
}

; The nested result, or null with an exception. What was made stays with the caller.
define internal ptr @nest(ptr %entry, ptr %made) #0 {
start:
  %count.at = getelementptr %Entry, ptr %entry, i32 0, i32 9
  %count = load i64, ptr %count.at
  %nodes.at = getelementptr %Entry, ptr %entry, i32 0, i32 10
  %nodes = load ptr, ptr %nodes.at
  %first.kind = load i64, ptr %nodes
  %is.leaf = icmp eq i64 %first.kind, 0
  %alone = icmp eq i64 %count, 1
  %bare = and i1 %is.leaf, %alone
  br i1 %bare, label %hand.over, label %begin

hand.over:                                        ; the commonest result, worth 10 ns
  %only.at = getelementptr %Node, ptr %nodes, i32 0, i32 1
  %only = load i64, ptr %only.at
  %only.slot = getelementptr ptr, ptr %made, i64 %only
  %only.object = load ptr, ptr %only.slot
  store ptr null, ptr %only.slot
  ret ptr %only.object

begin:
  %stack = alloca ptr, i64 %count
  br label %loop

loop:
  %i = phi i64 [ 0, %begin ], [ %next, %put ]
  %height = phi i64 [ 0, %begin ], [ %higher, %put ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %node = getelementptr %Node, ptr %nodes, i64 %i
  %next = add i64 %i, 1
  %kind = load i64, ptr %node
  %number.at = getelementptr %Node, ptr %node, i32 0, i32 1
  %number = load i64, ptr %number.at
  %object.at = getelementptr %Node, ptr %node, i32 0, i32 2
  %object = load ptr, ptr %object.at
  switch i64 %kind, label %container [ i64 0, label %leaf
                                       i64 1, label %share ]

leaf:
  %leaf.at = getelementptr ptr, ptr %made, i64 %number
  %leaf.object = load ptr, ptr %leaf.at
  br label %share

share:
  %shared = phi ptr [ %object, %one ], [ %leaf.object, %leaf ]
  call void @Py_IncRef(ptr %shared)
  br label %put

container:
  %below = sub i64 %height, %number
  %children = getelementptr ptr, ptr %stack, i64 %below
  %collected = call ptr @collect(i64 %kind, i64 %number, ptr %object, ptr %children)
  call void @registers.clear(ptr %children, i64 %number)
  %failed = icmp eq ptr %collected, null
  br i1 %failed, label %fail, label %put

put:
  %value = phi ptr [ %shared, %share ], [ %collected, %container ]
  %base = phi i64 [ %height, %share ], [ %below, %container ]
  %slot = getelementptr ptr, ptr %stack, i64 %base
  store ptr %value, ptr %slot
  %higher = add i64 %base, 1
  br label %loop

fail:
  call void @registers.clear(ptr %stack, i64 %below)
  ret ptr null

done:
  %result = load ptr, ptr %stack
  ret ptr %result
}

; A container of children, which it shares.
define internal ptr @collect(i64 %kind, i64 %count, ptr %object, ptr %children) #0 {
entry:
  switch i64 %kind, label %call [ i64 2, label %tuple
                                  i64 3, label %list
                                  i64 4, label %dict ]

tuple:
  %new.tuple = call ptr @tuple.of(ptr %children, i64 %count)
  ret ptr %new.tuple

call:
  %called = call ptr @PyObject_Vectorcall(ptr %object, ptr %children, i64 %count, ptr null)
  ret ptr %called

list:
  %new.list = call ptr @PyList_New(i64 %count)
  br label %begin

dict:
  %new.dict = call ptr @PyDict_New()
  br label %begin

begin:
  %is.list = phi i1 [ true, %list ], [ false, %dict ]
  %container = phi ptr [ %new.list, %list ], [ %new.dict, %dict ]
  %failed = icmp eq ptr %container, null
  br i1 %failed, label %done, label %loop

loop:
  %i = phi i64 [ 0, %begin ], [ %next, %put.list ], [ %next, %put.dict ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %next = add i64 %i, 1
  %at = getelementptr ptr, ptr %children, i64 %i
  %child = load ptr, ptr %at
  br i1 %is.list, label %put.list, label %put.dict

put.list:
  call void @Py_IncRef(ptr %child)
  %set.list = call i32 @PyList_SetItem(ptr %container, i64 %i, ptr %child)
  br label %loop

put.dict:
  %key = call ptr @PyTuple_GetItem(ptr %object, i64 %i)
  %set.dict = call i32 @PyDict_SetItem(ptr %container, ptr %key, ptr %child)
  %refused = icmp ne i32 %set.dict, 0
  br i1 %refused, label %drop, label %loop

drop:
  call void @Py_DecRef(ptr %container)
  ret ptr null

done:
  ret ptr %container
}
