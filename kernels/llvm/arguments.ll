; Arguments in one form: every parameter of the function as one positional value, defaults filled in,
; *args as a tuple and **kwargs as a dict. Defaults are read off the function at each call.

%Signature = type {
  i64,                    ; 0 how many positional arguments are in that form as they come, or -1
  ptr,                    ; 1 Python function
  i64,                    ; 2 positional parameters
  i64,                    ; 3 of these, those that have no name for callers
  i64,                    ; 4 keyword-only parameters
  i64,                    ; 5 1 if there is *args, which follows the positional ones
  i64,                    ; 6 1 if there is **kwargs, which is last
  ptr                     ; 7 names of the positional and of the keyword-only ones
}

; Whether the arguments can be used as they come.
define internal i1 @is.flat(ptr %state, i64 %nargs, ptr %kwnames) alwaysinline #0 {
entry:
  %positional = icmp eq ptr %kwnames, null
  %signature.at = getelementptr %State, ptr %state, i32 0, i32 11
  %signature = load ptr, ptr %signature.at
  %unknown = icmp eq ptr %signature, null
  br i1 %unknown, label %done, label %compare

compare:
  %direct = load i64, ptr %signature
  %as.many = icmp eq i64 %direct, %nargs
  br label %done

done:
  %complete = phi i1 [ true, %entry ], [ %as.many, %compare ]
  %flat = and i1 %complete, %positional
  ret i1 %flat
}

; Fill %flat, which is null throughout, with new references. False, without an exception, if the call
; does not fit the signature: Python then says why.
define internal i1 @arrange(ptr %state, ptr %args, i64 %nargs, ptr %kwnames, ptr %flat) #0 {
entry:
  %signature.at = getelementptr %State, ptr %state, i32 0, i32 11
  %signature = load ptr, ptr %signature.at
  %unknown = icmp eq ptr %signature, null
  br i1 %unknown, label %no, label %positional

positional:
  %count.at = getelementptr %Signature, ptr %signature, i32 0, i32 2
  %count = load i64, ptr %count.at
  %star.at = getelementptr %Signature, ptr %signature, i32 0, i32 5
  %star = load i64, ptr %star.at
  %has.star = icmp ne i64 %star, 0
  %over = icmp sgt i64 %nargs, %count
  %named = select i1 %over, i64 %count, i64 %nargs
  %no.star = xor i1 %has.star, true
  %too.many = and i1 %over, %no.star
  br i1 %too.many, label %no, label %copy

copy:
  call void @copy.references(ptr %args, ptr %flat, i64 %named)
  br i1 %has.star, label %rest, label %names

rest:
  %first = getelementptr ptr, ptr %args, i64 %named
  %extra = sub i64 %nargs, %named
  %tuple = call ptr @tuple.of(ptr %first, i64 %extra)
  %star.slot = getelementptr ptr, ptr %flat, i64 %count
  store ptr %tuple, ptr %star.slot
  %no.tuple = icmp eq ptr %tuple, null
  br i1 %no.tuple, label %error, label %names

names:
  %values = getelementptr ptr, ptr %args, i64 %nargs
  %placed = call i1 @place.keywords(ptr %signature, ptr %values, ptr %kwnames, ptr %flat)
  br i1 %placed, label %fill, label %error

fill:
  %filled = call i1 @fill.defaults(ptr %signature, ptr %flat)
  br i1 %filled, label %yes, label %error

error:
  call void @PyErr_Clear()
  br label %no

yes:
  ret i1 true

no:
  ret i1 false
}

define internal void @copy.references(ptr %from, ptr %to, i64 %count) #0 {
entry:
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %from.at = getelementptr ptr, ptr %from, i64 %i
  %value = load ptr, ptr %from.at
  call void @Py_IncRef(ptr %value)
  %to.at = getelementptr ptr, ptr %to, i64 %i
  store ptr %value, ptr %to.at
  %next = add i64 %i, 1
  br label %loop

done:
  ret void
}

; A tuple of %count objects, which it shares.
define internal ptr @tuple.of(ptr %items, i64 %count) #0 {
entry:
  %tuple = call ptr @PyTuple_New(i64 %count)
  %failed = icmp eq ptr %tuple, null
  br i1 %failed, label %done, label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done

one:
  %at = getelementptr ptr, ptr %items, i64 %i
  %value = load ptr, ptr %at
  call void @Py_IncRef(ptr %value)
  %set = call i32 @PyTuple_SetItem(ptr %tuple, i64 %i, ptr %value)
  %next = add i64 %i, 1
  br label %loop

done:
  ret ptr %tuple
}

; Put what was passed by name into its places, and what has none into **kwargs.
define internal i1 @place.keywords(ptr %signature, ptr %values, ptr %kwnames, ptr %flat) #0 {
entry:
  %last = call i64 @place(ptr %signature, i64 -1)
  %rest.at = getelementptr ptr, ptr %flat, i64 %last
  %takes.all.at = getelementptr %Signature, ptr %signature, i32 0, i32 6
  %takes.all.word = load i64, ptr %takes.all.at
  %takes.all = icmp ne i64 %takes.all.word, 0
  br i1 %takes.all, label %rest, label %begin

rest:
  %dict = call ptr @PyDict_New()
  store ptr %dict, ptr %rest.at
  %no.dict = icmp eq ptr %dict, null
  br i1 %no.dict, label %no, label %begin

begin:
  %found.dict = phi ptr [ null, %entry ], [ %dict, %rest ]
  %none = icmp eq ptr %kwnames, null
  br i1 %none, label %yes, label %count.them

count.them:
  %count = call i64 @PyTuple_Size(ptr %kwnames)
  br label %loop

loop:
  %i = phi i64 [ 0, %count.them ], [ %next, %put ], [ %next, %add.it ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes

one:
  %next = add i64 %i, 1
  %name = call ptr @PyTuple_GetItem(ptr %kwnames, i64 %i)
  %value.at = getelementptr ptr, ptr %values, i64 %i
  %value = load ptr, ptr %value.at
  %number = call i64 @parameter(ptr %signature, ptr %name)
  %known = icmp sge i64 %number, 0
  br i1 %known, label %look, label %unknown

look:
  %place = call i64 @place(ptr %signature, i64 %number)
  %slot = getelementptr ptr, ptr %flat, i64 %place
  %before = load ptr, ptr %slot
  %free = icmp eq ptr %before, null
  br i1 %free, label %put, label %no

put:
  call void @Py_IncRef(ptr %value)
  store ptr %value, ptr %slot
  br label %loop

unknown:
  br i1 %takes.all, label %add.it, label %no

add.it:
  %set = call i32 @PyDict_SetItem(ptr %found.dict, ptr %name, ptr %value)
  %added = icmp eq i32 %set, 0
  br i1 %added, label %loop, label %no

yes:
  ret i1 true

no:
  ret i1 false
}

; Where the parameter of a number is laid out; for -1 the place of **kwargs.
define internal i64 @place(ptr %signature, i64 %number) #0 {
  %positional.at = getelementptr %Signature, ptr %signature, i32 0, i32 2
  %positional = load i64, ptr %positional.at
  %keyword.only.at = getelementptr %Signature, ptr %signature, i32 0, i32 4
  %keyword.only = load i64, ptr %keyword.only.at
  %star.at = getelementptr %Signature, ptr %signature, i32 0, i32 5
  %star = load i64, ptr %star.at
  %end = add i64 %positional, %keyword.only
  %is.last = icmp slt i64 %number, 0
  %which = select i1 %is.last, i64 %end, i64 %number
  %after = add i64 %which, %star
  %is.first = icmp slt i64 %which, %positional
  %is.named.first = icmp slt i64 %number, %positional
  %is.positional = and i1 %is.first, %is.named.first
  %place = select i1 %is.positional, i64 %which, i64 %after
  ret i64 %place
}

; The number of the parameter of a name, or -1. Names in code are interned, so that most are found by
; identity; those of **{...} need not be.
define internal i64 @parameter(ptr %signature, ptr %name) #0 {
entry:
  %positional.at = getelementptr %Signature, ptr %signature, i32 0, i32 2
  %positional = load i64, ptr %positional.at
  %nameless.at = getelementptr %Signature, ptr %signature, i32 0, i32 3
  %nameless = load i64, ptr %nameless.at
  %keyword.only.at = getelementptr %Signature, ptr %signature, i32 0, i32 4
  %keyword.only = load i64, ptr %keyword.only.at
  %end = add i64 %positional, %keyword.only
  %names.at = getelementptr %Signature, ptr %signature, i32 0, i32 7
  %names = load ptr, ptr %names.at
  br label %identical

identical:
  %i = phi i64 [ %nameless, %entry ], [ %i.next, %one ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %one, label %equal

one:
  %one.at = getelementptr ptr, ptr %names, i64 %i
  %one.name = load ptr, ptr %one.at
  %i.next = add i64 %i, 1
  %same = icmp eq ptr %one.name, %name
  br i1 %same, label %found, label %identical

equal:
  %j = phi i64 [ %nameless, %identical ], [ %j.next, %other ]
  %more.others = icmp slt i64 %j, %end
  br i1 %more.others, label %other, label %none

other:
  %other.at = getelementptr ptr, ptr %names, i64 %j
  %other.name = load ptr, ptr %other.at
  %j.next = add i64 %j, 1
  %is.equal = call i1 @same(ptr %other.name, ptr %name)
  br i1 %is.equal, label %found, label %equal

found:
  %number = phi i64 [ %i, %one ], [ %j, %other ]
  ret i64 %number

none:
  ret i64 -1
}

; Defaults for what was not passed. False if there is none for a parameter.
define internal i1 @fill.defaults(ptr %signature, ptr %flat) #0 {
entry:
  %function.at = getelementptr %Signature, ptr %signature, i32 0, i32 1
  %function = load ptr, ptr %function.at
  %positional.at = getelementptr %Signature, ptr %signature, i32 0, i32 2
  %positional = load i64, ptr %positional.at
  %keyword.only.at = getelementptr %Signature, ptr %signature, i32 0, i32 4
  %keyword.only = load i64, ptr %keyword.only.at
  %end = add i64 %positional, %keyword.only
  %names.at = getelementptr %Signature, ptr %signature, i32 0, i32 7
  %names = load ptr, ptr %names.at
  %defaults = call ptr @PyFunction_GetDefaults(ptr %function)
  %named = call ptr @PyFunction_GetKwDefaults(ptr %function)
  %no.defaults = icmp eq ptr %defaults, null
  br i1 %no.defaults, label %begin, label %count.them

count.them:
  %size = call i64 @PyTuple_Size(ptr %defaults)
  br label %begin

begin:
  %count = phi i64 [ 0, %entry ], [ %size, %count.them ]
  %without = sub i64 %positional, %count
  br label %loop

loop:
  %i = phi i64 [ 0, %begin ], [ %next, %one ], [ %next, %fill ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %one, label %yes

one:
  %next = add i64 %i, 1
  %place = call i64 @place(ptr %signature, i64 %i)
  %slot = getelementptr ptr, ptr %flat, i64 %place
  %given = load ptr, ptr %slot
  %missing = icmp eq ptr %given, null
  br i1 %missing, label %which, label %loop

which:
  %by.position = icmp slt i64 %i, %positional
  br i1 %by.position, label %of.position, label %of.name

of.position:
  %number = sub i64 %i, %without
  %has.one = icmp sge i64 %number, 0
  br i1 %has.one, label %take, label %no

take:
  %by.number = call ptr @PyTuple_GetItem(ptr %defaults, i64 %number)
  br label %fill

of.name:
  %no.names = icmp eq ptr %named, null
  br i1 %no.names, label %no, label %look.up

look.up:
  %name.at = getelementptr ptr, ptr %names, i64 %i
  %name = load ptr, ptr %name.at
  %by.name = call ptr @PyDict_GetItemWithError(ptr %named, ptr %name)
  %no.such = icmp eq ptr %by.name, null
  br i1 %no.such, label %no, label %fill

fill:
  %value = phi ptr [ %by.number, %take ], [ %by.name, %look.up ]
  call void @Py_IncRef(ptr %value)
  store ptr %value, ptr %slot
  br label %loop

yes:
  ret i1 true

no:
  ret i1 false
}
