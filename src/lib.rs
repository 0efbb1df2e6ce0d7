//! gatewire holds one persistent mTLS MQTT connection between this gateway and AWS IoT Core.
//!
//! # The way of a message
//!
//! ```text
//!  schedule ─┐                                          ┌─> forward ─> local readers
//!  ingest ───┼─> outbox ─> link ─> IoT Core ─> link ─> inbox
//!  bridge ───┘                                          └─> bridge ──> devices at a local broker
//! ```
//!
//! **Up.** [`schedule`] decides when a publication is due and fills in its payload; [`ingest`] reads lines from local
//! programs and checks them. Both hand an [`Outbound`](message::Outbound) to the [`outbox`], which keeps the order in which
//! messages were accepted and holds each until IoT Core has acknowledged it: in memory at first, through the [`store`] on the
//! disk when that takes longer than it may. The [`link`] takes from the outbox as fast as the window and the rate limit allow.
//! A PUBACK travels back the same way: link, outbox, and the answer on the ingest socket.
//!
//! **Down.** The link hands an [`Inbound`](message::Inbound) to the [`inbox`], which gives it to every [`forward`] with a
//! filter that matches; the forward writes it to its readers, or keeps it in the store until there is one. Once it is done for
//! all of them, the inbox returns its token and the link sends the PUBACK.
//!
//! **Devices.** A [`bridge`] is a client of a broker on this gateway: it hands what devices publish there to the outbox, and gives
//! the broker what the inbox has for it. [`mapping`] says which topic becomes which.
//!
//! # Who knows whom
//!
//! The [`link`] and a bridge's connection to its broker are made of parts that know nothing of them: [`net`] finds a way to a host and
//! opens TLS, [`mqtt`] is the protocol without I/O, for any server, and [`client`] is what both need around it. They connect, keep,
//! explain, wait and reload.
//!
//! Each step knows its neighbours only. `daemon` alone knows them all: it starts them, connects them, and stops them in
//! order. `config` is read before anything starts and is valid by construction; `journal` and `systemd` say what goes on, and may be
//! called from anywhere; `status` is put together from all parts, and known to none.
//!
//! # How it is built
//!
//! What decides is pure (the session, the ledger of the outbox, the queue of a forward, the clocks): state machines without
//! I/O, clock or randomness of their own, tested with virtual time. What acts is thin: tasks on one thread that move bytes
//! and do as they are told. Another thread waits for the disk, and short-lived ones for what may block (DNS, files, commands).

#![forbid(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the documentation is for who works on it, and built with private items"
)]

pub(crate) mod actions;
pub(crate) mod batch;
pub(crate) mod blocking;
pub(crate) mod bridge;
pub(crate) mod certificate;
pub mod cli;
mod client;
pub(crate) mod config;
pub(crate) mod cost;
pub(crate) mod count;
pub(crate) mod cron;
pub(crate) mod daemon;
pub(crate) mod download;
pub(crate) mod duration;
pub(crate) mod executions;
pub(crate) mod exposure;
pub(crate) mod filesystem;
pub(crate) mod forward;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub(crate) mod home_assistant;
pub(crate) mod http;
pub(crate) mod identity;
pub(crate) mod inbox;
pub(crate) mod ingest;
pub(crate) mod jobs_socket;
pub(crate) mod journal;
pub(crate) mod json;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod mapping;
mod message;
mod meter;
pub(crate) mod metrics;
pub(crate) mod mqtt;
pub(crate) mod net;
pub(crate) mod notify;
pub(crate) mod outbox;
pub(crate) mod owner;
pub(crate) mod pkcs11;
pub(crate) mod policy;
pub(crate) mod printable;
pub(crate) mod program;
pub(crate) mod provisioning;
pub(crate) mod regular;
pub(crate) mod rotation;
pub(crate) mod sandbox;
pub(crate) mod schedule;
pub(crate) mod secret;
pub(crate) mod services;
#[cfg(test)]
mod simulation;
pub(crate) mod socket;
pub(crate) mod spelling;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod store;
pub(crate) mod systemd;
pub(crate) mod template;
#[cfg(test)]
mod tests;
pub(crate) mod thing_services;
pub(crate) mod time;
pub(crate) mod timestamp;
