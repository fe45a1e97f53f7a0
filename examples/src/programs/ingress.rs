//! An ingress with two paths.

use kprov::build::*;

/// Leads to two services, which see the path as `/`.
pub fn ingress() -> Ingress {
    let paths = Host::any().path("/httpd", ("httpd-service", 8080)).path("/tomcat", ("tomcat-service", 8080));
    Ingress::new("test-ingress", paths).annotation("nginx.ingress.kubernetes.io/rewrite-target", "/")
}
