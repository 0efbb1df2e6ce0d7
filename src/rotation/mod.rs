//! Another certificate, and another key, for an identity that gatewire has made itself: because a job wants it (`ROTATE_CERTIFICATE`),
//! or because the end of the present one is near (`provisioning.renew_before`).
//!
//! [`Machine`] decides (pure) what is asked, what is noted and which of the two identities the link connects with; [`Rotations`] is
//! the task that does it.
//!
//! | step | by a job | for a certificate that ends | if it isn't done in 10 minutes |
//! |---|---|---|---|
//! | key | a key and a request for a certificate are made | the same | |
//! | create-certificate | `awslabs/things/T/certificate/create` | CreateCertificateFromCsr | nothing has changed: it has failed |
//! | register-thing | | RegisterThing with the same template | the same |
//! | trial | connect with the new one | the same | back |
//! | commit | the job is still wanted: `awslabs/things/T/certificate/commit` | | back |
//! | put-in-force | the new one takes the place of the old one on the disk | the same | tried for ever |
//! | go-back | connect with the old one | the same | then with the new one, and so on |
//!
//! From the trial on the new one has all that it needs, and from the moment that a commit may have been sent nobody knows which of
//! the two AWS lets in. So the way back isn't over before one of them has connected, and that one counts.
//!
//! Source: AWS IoT certificate rotator (AWS Labs) for the job; "Device provisioning MQTT API" in the AWS IoT developer guide.

mod asking;
mod effect;
mod files;
mod machine;
mod orders;
mod renewal;
mod said;
mod task;
#[cfg(test)]
mod tests;

#[cfg(test)]
use effect::{Answered, UnfinishedRotation};
use effect::{Cause, Effect, Failed, NoAnswer, Note, Now, Question, RotationEnd, Stage, Step};
use machine::Machine;
pub(crate) use orders::Orders;
pub(crate) use task::{Means, Rotations, Settings, When};
