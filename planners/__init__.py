"""One class per ``-pl`` name. nnU-Net finds them through :mod:`magms_nnunet.autoload`."""

from magms_nnunet.planners.magms_planner import MAGMSPlanner
from magms_nnunet.planners.magms_resenc_planners import (
    MAGMSPlannerResEncL,
    MAGMSPlannerResEncM,
    MAGMSPlannerResEncXL,
)

__all__ = ["MAGMSPlanner", "MAGMSPlannerResEncL", "MAGMSPlannerResEncM", "MAGMSPlannerResEncXL"]
