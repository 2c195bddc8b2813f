//! Pod, ServiceAccount and namespace.

group! { pod02 }
