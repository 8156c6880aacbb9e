//! A context as clients carry it: printable, versioned, checked (being built).
