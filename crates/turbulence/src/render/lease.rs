//! The holder of a lease.

use migrations::lease::Holder;

use super::format::duration;

/// Returns the process that holds a lease.
pub(crate) fn holder(holder: &Holder) -> String {
    let owner = holder.owner.as_deref().unwrap_or("unknown");
    format!("process {owner} (fence {})", holder.fence)
}

/// Returns the remaining time of a lease, such as `expires in 20 s`.
pub(crate) fn remaining(holder: &Holder) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded to seconds")]
    let seconds = holder.remaining_ms as f64 / 1_000.0;
    if seconds > 0.0 {
        format!("expires in {}", duration(seconds))
    } else {
        format!("expired {} ago", duration(-seconds))
    }
}
