"""``-pl MAGMSPlannerResEncM``, ``L``, ``XL``: nnU-Net's residual encoders, for GPUs of 24, 40 and 80 GB."""

from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncL,
    nnUNetPlannerResEncM,
    nnUNetPlannerResEncXL,
)

from magms_nnunet.planners.magms_planner import MAGMSPlanner


class MAGMSPlannerResEncM(MAGMSPlanner, nnUNetPlannerResEncM):
    """nnU-Net's ResEnc M with the memory estimate and normalisation of MAGMSPlanner."""

    default_gpu_memory_gb = 24
    default_plans_name = "MAGMSResEncUNetMPlans"


class MAGMSPlannerResEncL(MAGMSPlanner, nnUNetPlannerResEncL):
    """nnU-Net's ResEnc L with the memory estimate and normalisation of MAGMSPlanner."""

    default_gpu_memory_gb = 40
    default_plans_name = "MAGMSResEncUNetLPlans"


class MAGMSPlannerResEncXL(MAGMSPlanner, nnUNetPlannerResEncXL):
    """nnU-Net's ResEnc XL with the memory estimate and normalisation of MAGMSPlanner."""

    default_gpu_memory_gb = 80
    default_plans_name = "MAGMSResEncUNetXLPlans"
