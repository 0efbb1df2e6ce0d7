//! The terminal: taken for the view, and given back as it was, whatever happens.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal, raise};
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::look::{Glyphs, Look};
use crate::cli::output::Style;

/// What a terminal has that doesn't say how large it is, such as a serial console.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// More than this isn't drawn, whatever a terminal says of itself.
const MAX_SIZE: (u16, u16) = (1000, 300);

/// Whether the terminal isn't as it was.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Why nothing can be drawn, if so.
pub(super) fn lack() -> Option<&'static str> {
    let is_dumb = std::env::var("TERM")
        .map_or_else(|_| std::env::var_os("TERM").is_none(), |name| ["dumb", ""].contains(&&*name));
    match () {
        () if !io::stdout().is_terminal() => Some("standard output isn't one"),
        () if !io::stdin().is_terminal() => Some("standard input isn't one, from which `q` would be read"),
        () if is_dumb => Some("this one can't be drawn on (TERM is dumb, or not set)"),
        () => None,
    }
}

/// The terminal while it shows the view. Dropped, it is given back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<File>>>,
    look: Look,
}

impl Screen {
    pub(super) fn take() -> io::Result<Screen> {
        let says = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            says(panic);
        }));
        take()?;
        // Not `Stdout`: what goes wrong while that is locked couldn't be told.
        let terminal = terminal().and_then(|out| {
            let viewport = Viewport::Fixed(area());
            Terminal::with_options(CrosstermBackend::new(BufWriter::new(out)), TerminalOptions { viewport })
        });
        let name = std::env::var("TERM").unwrap_or_default();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).ok());
        let look = Look { glyphs: Glyphs::of(&name, locale), has_colours: Style::of_stdout() == Style::Colour };
        match terminal {
            Ok(terminal) => {
                let mut screen = Screen { terminal, look };
                screen.begin()?;
                Ok(screen)
            }
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws anew all that has changed.
    pub(super) fn draw(&mut self, draw: impl FnOnce(Look, &mut Buffer)) -> io::Result<()> {
        let look = self.look;
        self.terminal.draw(|frame| draw(look, frame.buffer_mut())).map(|_| ())
    }

    /// Whatever is on it is gone, or it has another size. (Not `Terminal::clear`: that asks the terminal where its cursor is, and reads
    /// the keys for the answer.)
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.terminal.resize(area())?;
        self.terminal.hide_cursor()
    }

    /// Takes it once more: somebody else may have set it meanwhile.
    pub(super) fn retake(&mut self) -> io::Result<()> {
        give_back();
        take()?;
        self.begin()
    }

    /// Gives it back and stops, as Ctrl-Z has a program do, until it is told to go on. Where nobody would tell it that, it goes on at once.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        let stop = SigSet::from(Signal::SIGTSTP);
        let stopped = stop.thread_unblock().and_then(|()| raise(Signal::SIGTSTP)).and_then(|()| stop.thread_block());
        stopped.map_err(io::Error::from)?;
        self.retake()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn terminal() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// All of the terminal.
fn area() -> Rect {
    let known = size().ok().filter(|(width, height)| *width > 0 && *height > 0);
    let (width, height) = known.unwrap_or(DEFAULT_SIZE);
    Rect::new(0, 0, width.min(MAX_SIZE.0), height.min(MAX_SIZE.1))
}

fn take() -> io::Result<()> {
    IS_TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode().and_then(|()| execute!(terminal()?, EnterAlternateScreen)).inspect_err(|_| give_back())
}

/// Once is enough: a second time would move the cursor over what was written since.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        // There is nobody to tell that it fails: a terminal that has gone needs nothing.
        let _ = terminal().and_then(|mut out| execute!(out, LeaveAlternateScreen, Show));
        give_back_modes();
    }
}

/// What of it doesn't wait for a terminal that takes nothing.
pub(super) fn give_back_modes() {
    let _ = disable_raw_mode();
}
