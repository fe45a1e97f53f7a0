//! Why a step for a pod failed, as its status and its events name it.

/// The reasons there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the kubelet's own reasons")]
pub enum Reason {
    ErrImagePull,
    ErrImageNeverPull,
    ImageInspectError,
    InvalidImageName,
    CreateContainerConfigError,
    CreateContainerError,
    RunContainerError,
    PostStartHookError,
    FailedMount,
    FailedCreatePodSandBox,
    FailedKillPod,
    ResizeError,
}

impl Reason {
    /// As it stands in a status.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::ErrImagePull => "ErrImagePull",
            Self::ErrImageNeverPull => "ErrImageNeverPull",
            Self::ImageInspectError => "ImageInspectError",
            Self::InvalidImageName => "InvalidImageName",
            Self::CreateContainerConfigError => "CreateContainerConfigError",
            Self::CreateContainerError => "CreateContainerError",
            Self::RunContainerError => "RunContainerError",
            Self::PostStartHookError => "PostStartHookError",
            Self::FailedMount => "FailedMount",
            Self::FailedCreatePodSandBox => "FailedCreatePodSandBox",
            Self::FailedKillPod => "FailedKillPod",
            Self::ResizeError => "Error",
        }
    }

    /// Whether other images may mend it.
    #[must_use]
    pub fn is_of_image(self) -> bool {
        matches!(self, Self::ErrImagePull | Self::ErrImageNeverPull | Self::ImageInspectError)
    }

    /// Whether a container was made all the same, and has ended: it counts as a run.
    #[must_use]
    pub fn left_a_container(self) -> bool {
        matches!(self, Self::RunContainerError | Self::PostStartHookError)
    }
}
