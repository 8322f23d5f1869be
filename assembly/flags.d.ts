// Names that asc is given with --use; the sources ask for them by isDefined(), never by value.
declare const DEBUG: bool;
