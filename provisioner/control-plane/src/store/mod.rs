//! Keys to objects, with one revision counter and a bounded history.
